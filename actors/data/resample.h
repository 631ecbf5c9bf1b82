// Scaling a part of an image: the triangle filter, widened where the image shrinks, so that every pixel of
// the part counts (what Pillow and torchvision call antialiased bilinear). Edges: weights outside are left
// out and the others raised.
#pragma once

#include <cstddef>
#include <cstdint>

#include "actors/data/dataset.h"

namespace seng {

// Values of an image where they lie: at(channel, y, x) = values[channel * channel_stride + y * row_stride +
// x * pixel_stride].
template <class T>
struct Raster {
  const T* values = nullptr;
  PixelSize size;
  int channels = 0;
  std::size_t channel_stride = 0, row_stride = 0, pixel_stride = 1;
};

// out: [channels, to.height, to.width]. The box lies within the image and is not empty. Weights are double,
// sums float in the order of the pixels: the same bits anywhere.
void resample(const Raster<std::uint8_t>& image, const PixelBox& box, PixelSize to, float* out);
void resample(const Raster<float>& image, const PixelBox& box, PixelSize to, float* out);

}  // namespace seng
