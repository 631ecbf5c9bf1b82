#include "actors/data/image_file.h"

#include <fmt/format.h>

#include "protocol/base/file.h"

namespace seng {

Status check_image_size(PixelSize size) {
  const bool sane = size.height >= 1 && size.width >= 1 && size.height <= kMaxImageSide &&
                    size.width <= kMaxImageSide &&
                    std::size_t(size.height) * std::size_t(size.width) <= kMaxImagePixels;
  if (sane) return {};
  return fail(ErrorCode::kCorrupt, fmt::format("{}x{} pixels; expected at most {} in all, {} a side",
                                               size.height, size.width, kMaxImagePixels, kMaxImageSide));
}

Result<FileImage> read_image(const std::string& path, int channels, const ChooseReduction& reduction) {
  const auto bytes = read_file(path, kMaxImageFileBytes);
  if (!bytes) return fail(bytes.error());
  if (bytes->starts_with("\xff\xd8")) {
    auto image = decode_jpeg(*bytes, channels, reduction);
    return image ? std::move(image) : fail(image.error().with_context(path));
  }
  if (bytes->starts_with("\x89PNG")) {
    auto image = decode_png(*bytes, channels);
    return image ? std::move(image) : fail(image.error().with_context(path));
  }
  return fail(ErrorCode::kCorrupt, path + (bytes->empty() ? ": an empty file" : ": neither JPEG nor PNG"));
}

}  // namespace seng
