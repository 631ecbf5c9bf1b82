// JPEG and PNG files as bytes. What they are is told by their first bytes, not by their names.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "actors/data/dataset.h"
#include "protocol/base/error.h"

namespace seng {

// values: [size.height, size.width, channels]. `full` is the size of the whole picture in the file, of which
// this may be a reduced form.
struct FileImage {
  PixelSize size, full;
  int channels = 0;
  std::vector<std::uint8_t> values;
};

inline constexpr int kMaxImageSide = 65'500;
inline constexpr std::size_t kMaxImagePixels = std::size_t{1} << 28;
inline constexpr std::size_t kMaxImageFileBytes = std::size_t{1} << 30;

// Which reduction is wanted of a picture of this size: 1, 2, 4 or 8. A JPEG is decoded at that fraction of
// its size at a fraction of the time (libjpeg-turbo's scaled transform); other formats ignore it.
using ChooseReduction = std::function<int(PixelSize full)>;

// channels: 1 (grey) or 3 (red, green, blue); other colours are converted, transparency is laid over black.
// Errors name the file: kNotFound, kIo; kCorrupt for what is no whole, undamaged picture of either format.
Result<FileImage> read_image(const std::string& path, int channels, const ChooseReduction& reduction);

// The two formats, from memory; errors say what is wrong, without the file's name.
Result<FileImage> decode_jpeg(std::string_view bytes, int channels, const ChooseReduction& reduction);
Result<FileImage> decode_png(std::string_view bytes, int channels);

// kCorrupt for a picture of no or too many pixels.
Status check_image_size(PixelSize size);

}  // namespace seng
