// Any bytes as a picture: refused, or as many values as its size says.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "actors/data/image_file.h"

namespace {

void check(const seng::Result<seng::FileImage>& image, int channels) {
  if (!image) {
    if (image.error().message.empty()) std::abort();
    return;
  }
  const auto count = std::size_t(image->size.height) * image->size.width * channels;
  if (image->channels != channels || count == 0 || image->values.size() != count) std::abort();
  if (image->size.height > image->full.height || image->size.width > image->full.width) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const int channels = data[0] & 1 ? 1 : 3;
  const int reduction = 1 << (data[0] >> 1 & 3);
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  check(seng::decode_jpeg(bytes, channels, [&](seng::PixelSize) { return reduction; }), channels);
  check(seng::decode_png(bytes, channels), channels);
  return 0;
}
