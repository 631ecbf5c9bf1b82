#include "actors/data/image_operations.h"

#include <algorithm>
#include <cmath>

namespace seng {
namespace {

constexpr int kTries = 10;
constexpr double kNarrowest = 3.0 / 4, kWidest = 4.0 / 3;

// Of red, green and blue: ITU-R BT.601, as torchvision has it.
constexpr float kRed = 0.2989f, kGreen = 0.587f, kBlue = 0.114f;

double between(double low, double high, Random& random) {
  return low + (high - low) * random.uniform();
}

float clamped(float value) {
  return std::clamp(value, 0.0f, 1.0f);
}

float grey_at(const ImagePlanes& planes, const float* image, std::size_t i) {
  if (planes.channels != 3) return image[i];
  const std::size_t n = planes.pixels();
  return kRed * image[i] + kGreen * image[n + i] + kBlue * image[2 * n + i];
}

void brighten(const ImagePlanes& planes, float factor, float* image) {
  for (std::size_t i = 0; i < planes.count(); ++i) image[i] = clamped(image[i] * factor);
}

void change_contrast(const ImagePlanes& planes, float factor, float* image) {
  double sum = 0;
  for (std::size_t i = 0; i < planes.pixels(); ++i) sum += grey_at(planes, image, i);
  const auto rest = static_cast<float>((1 - factor) * sum / static_cast<double>(planes.pixels()));
  for (std::size_t i = 0; i < planes.count(); ++i) image[i] = clamped(image[i] * factor + rest);
}

void saturate(const ImagePlanes& planes, float factor, float* image) {
  for (std::size_t i = 0; i < planes.pixels(); ++i) {
    const float rest = (1 - factor) * grey_at(planes, image, i);
    for (int c = 0; c < 3; ++c) {
      float& value = image[c * planes.pixels() + i];
      value = clamped(value * factor + rest);
    }
  }
}

// Hue in turns, from 0 to 1; saturation and value as usual.
struct Hsv {
  float hue = 0, saturation = 0, value = 0;
};

Hsv to_hsv(float r, float g, float b) {
  const float high = std::max({r, g, b}), low = std::min({r, g, b}), range = high - low;
  if (range <= 0) return {0, 0, high};
  float sixths = 0;
  if (high == r) {
    sixths = (g - b) / range;
  } else if (high == g) {
    sixths = 2 + (b - r) / range;
  } else {
    sixths = 4 + (r - g) / range;
  }
  const float turns = sixths / 6;
  return {turns - std::floor(turns), range / high, high};
}

std::array<float, 3> to_rgb(const Hsv& hsv) {
  std::array<float, 3> rgb{};
  for (int c = 0; c < 3; ++c) {
    // Each colour is a trapezium over the hue: red's begins at 5 sixths, green's at 3, blue's at 1.
    const float k = std::fmod(static_cast<float>(5 - 2 * c) + hsv.hue * 6, 6.0f);
    const float down = std::clamp(std::min(k, 4 - k), 0.0f, 1.0f);
    rgb[c] = hsv.value * (1 - hsv.saturation * down);
  }
  return rgb;
}

void turn_hue(const ImagePlanes& planes, float turns, float* image) {
  const std::size_t n = planes.pixels();
  for (std::size_t i = 0; i < n; ++i) {
    Hsv hsv = to_hsv(image[i], image[n + i], image[2 * n + i]);
    hsv.hue += turns;
    hsv.hue -= std::floor(hsv.hue);
    const auto rgb = to_rgb(hsv);
    for (int c = 0; c < 3; ++c) image[c * n + i] = clamped(rgb[c]);
  }
}

// shape >= 1.
double gamma_variate(double shape, Random& random) {
  const double d = shape - 1.0 / 3, c = 1 / std::sqrt(9 * d);
  while (true) {
    const double x = random.normal(), base = 1 + c * x;
    if (base <= 0) continue;
    const double v = base * base * base, u = 1 - double(random.uniform());
    if (std::log(u) < 0.5 * x * x + d - d * v + d * std::log(v)) return d * v;
  }
}

// The logarithm, since a small shape's variates leave a double's range.
double log_gamma_variate(double shape, Random& random) {
  if (shape >= 1) return std::log(gamma_variate(shape, random));
  const double u = 1 - double(random.uniform());
  return std::log(gamma_variate(shape + 1, random)) + std::log(u) / shape;
}

}  // namespace

void shift(const ImagePlanes& planes, const float* image, int down, int right, std::span<const float> outside,
           float* out) {
  const auto [height, width] = planes.size;
  const int first = std::clamp(-right, 0, width), last = std::clamp(width - right, first, width);
  for (int c = 0; c < planes.channels; ++c) {
    for (int y = 0; y < height; ++y) {
      float* row = out + (std::size_t(c) * height + y) * width;
      const int from = y + down;
      if (from < 0 || from >= height) {
        std::fill(row, row + width, outside[c]);
        continue;
      }
      const float* source = image + (std::size_t(c) * height + from) * width;
      std::fill(row, row + first, outside[c]);
      std::copy(source + first + right, source + last + right, row + first);
      std::fill(row + last, row + width, outside[c]);
    }
  }
}

void flip_left_right(const ImagePlanes& planes, float* image) {
  for (std::size_t row = 0; row < std::size_t(planes.channels) * planes.size.height; ++row)
    std::reverse(image + row * planes.size.width, image + (row + 1) * planes.size.width);
}

void cut_out(const ImagePlanes& planes, int row, int column, int side, float* image) {
  const auto [height, width] = planes.size;
  const int top = std::max(0, row - side / 2), bottom = std::min(height, row - side / 2 + side);
  const int left = std::max(0, column - side / 2), right = std::min(width, column - side / 2 + side);
  for (int c = 0; c < planes.channels; ++c) {
    for (int y = top; y < bottom; ++y) {
      float* at = image + (std::size_t(c) * height + y) * width;
      std::fill(at + left, at + std::max(left, right), 0.0f);
    }
  }
}

PixelBox choose_part(PixelSize source, double share, Random& random) {
  const double height = source.height, width = source.width;
  for (int i = 0; i < kTries; ++i) {
    const double area = height * width * between(share, 1, random);
    const double ratio = std::exp(between(std::log(kNarrowest), std::log(kWidest), random));
    const double w = std::round(std::sqrt(area * ratio)), h = std::round(std::sqrt(area / ratio));
    if (w < 1 || h < 1 || w > width || h > height) continue;
    const auto top = random.below(static_cast<std::uint64_t>(height - h) + 1),
               left = random.below(static_cast<std::uint64_t>(width - w) + 1);
    return {double(top), double(left), h, w};
  }
  const double h = std::min(height, std::round(width / kNarrowest)),
               w = std::min(width, std::round(height * kWidest));
  return {std::floor((height - h) / 2), std::floor((width - w) / 2), h, w};
}

void jitter(const ImagePlanes& planes, std::span<const JitterStep> steps, float* image) {
  for (const JitterStep& step : steps) {
    switch (step.kind) {
      case Jitter::kBrightness:
        brighten(planes, step.amount, image);
        break;
      case Jitter::kContrast:
        change_contrast(planes, step.amount, image);
        break;
      case Jitter::kSaturation:
        if (planes.channels == 3) saturate(planes, step.amount, image);
        break;
      case Jitter::kHue:
        if (planes.channels == 3) turn_hue(planes, step.amount, image);
        break;
    }
  }
}

double symmetric_beta(double alpha, Random& random) {
  const double a = log_gamma_variate(alpha, random), b = log_gamma_variate(alpha, random);
  return 1 / (1 + std::exp(b - a));
}

}  // namespace seng
