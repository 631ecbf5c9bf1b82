#include <cstring>

#include <png.h>

#include "actors/data/image_file.h"

namespace seng {

Result<FileImage> decode_png(std::string_view bytes, int channels) {
  png_image png;
  std::memset(&png, 0, sizeof png);
  png.version = PNG_IMAGE_VERSION;
  const auto corrupt = [&] {
    Error error{ErrorCode::kCorrupt, std::string("a damaged PNG: ") + png.message};
    png_image_free(&png);
    return fail(std::move(error));
  };
  if (png_image_begin_read_from_memory(&png, bytes.data(), bytes.size()) == 0) return corrupt();
  FileImage image;
  image.channels = channels;
  if (png.width > kMaxImageSide || png.height > kMaxImageSide) {
    png_image_free(&png);
    return fail(ErrorCode::kCorrupt, "more than " + std::to_string(kMaxImageSide) + " pixels a side");
  }
  image.size = image.full = {static_cast<int>(png.height), static_cast<int>(png.width)};
  if (auto sane = check_image_size(image.size); !sane) {
    png_image_free(&png);
    return fail(sane.error());
  }
  png.format = channels == 1 ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB;
  image.values.resize(PNG_IMAGE_SIZE(png));
  const png_color black{0, 0, 0};
  if (png_image_finish_read(&png, &black, image.values.data(), 0, nullptr) == 0) return corrupt();
  if ((png.warning_or_error & PNG_IMAGE_WARNING) != 0 && std::strstr(png.message, "CRC") != nullptr)
    return corrupt();
  return image;
}

}  // namespace seng
