// The operations of augmentation, each with its random choices taken out: pure functions of their arguments.
// Images are [C, H, W] floats.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "actors/data/dataset.h"
#include "actors/engine/random.h"

namespace seng {

struct ImagePlanes {
  int channels = 0;
  PixelSize size;
  std::size_t pixels() const { return std::size_t(size.height) * size.width; }
  std::size_t count() const { return channels * pixels(); }
};

// out(y, x) = image(y + down, x + right), and `outside` of the channel where that is no pixel.
void shift(const ImagePlanes& planes, const float* image, int down, int right, std::span<const float> outside,
           float* out);

void flip_left_right(const ImagePlanes& planes, float* image);

// The square of `side` pixels around (row, column) becomes 0, the data set's mean; clipped at the edges.
void cut_out(const ImagePlanes& planes, int row, int column, int side, float* image);

// A random part of `share` to all of the area, 3:4 to 4:3, as torchvision's RandomResizedCrop: ten tries,
// then the middle.
PixelBox choose_part(PixelSize source, double share, Random& random);

// torchvision's ColorJitter on values from 0 to 1. Factors of 1 and a shift of 0 change nothing; grey images
// (one channel) take brightness and contrast only.
enum class Jitter { kBrightness, kContrast, kSaturation, kHue };
struct JitterStep {
  Jitter kind = Jitter::kBrightness;
  float amount = 1;  // the factor, or the shift in turns of the hue
};
void jitter(const ImagePlanes& planes, std::span<const JitterStep> steps, float* image);

// Beta(alpha, alpha) as a ratio of two gamma variates (Marsaglia, Tsang, "A simple method for generating
// gamma variables", ACM TOMS 26, 2000).
double symmetric_beta(double alpha, Random& random);

}  // namespace seng
