// Each operation of augmentation against its definition, written down plainly.
#include "actors/data/image_operations.h"

#include <algorithm>
#include <cmath>
#include <random>

#include <gtest/gtest.h>

namespace seng::image_operations_test {
namespace {

constexpr ImagePlanes kPlanes{3, {7, 9}};

std::vector<float> random_image(std::uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<float> image(kPlanes.count());
  for (float& value : image) value = std::generate_canonical<float, 24>(random);
  return image;
}

double at(const std::vector<float>& image, int c, int y, int x) {
  return image[(c * 7 + y) * 9 + x];
}

TEST(ImageOperations, ShiftMovesAndFillsUp) {
  const auto image = random_image(1);
  const std::vector<float> outside = {-1, -2, -3};
  for (int down = -8; down <= 8; ++down)
    for (int right = -10; right <= 10; ++right) {
      std::vector<float> out(image.size(), 99);
      shift(kPlanes, image.data(), down, right, outside, out.data());
      for (int c = 0; c < 3; ++c)
        for (int y = 0; y < 7; ++y)
          for (int x = 0; x < 9; ++x) {
            const int fy = y + down, fx = x + right;
            const bool inside = fy >= 0 && fy < 7 && fx >= 0 && fx < 9;
            ASSERT_EQ(at(out, c, y, x), inside ? at(image, c, fy, fx) : outside[c]) << down << " " << right;
          }
    }
}

TEST(ImageOperations, FlipMirrors) {
  const auto image = random_image(2);
  auto out = image;
  flip_left_right(kPlanes, out.data());
  for (int c = 0; c < 3; ++c)
    for (int y = 0; y < 7; ++y)
      for (int x = 0; x < 9; ++x) ASSERT_EQ(at(out, c, y, x), at(image, c, y, 8 - x));
}

TEST(ImageOperations, CutOutClearsAClippedSquare) {
  for (int row = 0; row < 7; ++row)
    for (int column = 0; column < 9; ++column)
      for (const int side : {1, 2, 4, 5, 7}) {
        auto image = random_image(3);
        for (float& value : image) value += 1;
        const auto before = image;
        cut_out(kPlanes, row, column, side, image.data());
        for (int c = 0; c < 3; ++c)
          for (int y = 0; y < 7; ++y)
            for (int x = 0; x < 9; ++x) {
              const bool inside = y >= row - side / 2 && y < row - side / 2 + side &&
                                  x >= column - side / 2 && x < column - side / 2 + side;
              ASSERT_EQ(at(image, c, y, x), inside ? 0 : at(before, c, y, x));
            }
      }
}

struct Rgb {
  double r, g, b;
};

// Foley, van Dam: the hexcone, in degrees, by sectors.
Rgb turned(Rgb in, double turns) {
  const double high = std::max({in.r, in.g, in.b}), low = std::min({in.r, in.g, in.b}), range = high - low;
  if (range == 0) return in;
  double degrees = high == in.r   ? 60 * (in.g - in.b) / range
                   : high == in.g ? 120 + 60 * (in.b - in.r) / range
                                  : 240 + 60 * (in.r - in.g) / range;
  degrees = std::fmod(degrees + 360 * turns + 720, 360);
  const int sector = static_cast<int>(degrees / 60) % 6;
  const double f = degrees / 60 - std::floor(degrees / 60), s = range / high;
  const double p = high * (1 - s), q = high * (1 - s * f), t = high * (1 - s * (1 - f));
  switch (sector) {
    case 0:
      return {high, t, p};
    case 1:
      return {q, high, p};
    case 2:
      return {p, high, t};
    case 3:
      return {p, q, high};
    case 4:
      return {t, p, high};
    default:
      return {high, p, q};
  }
}

double grey(Rgb v) {
  return 0.2989 * v.r + 0.587 * v.g + 0.114 * v.b;
}

std::vector<double> jitter_reference(const std::vector<float>& image, std::span<const JitterStep> steps) {
  std::vector<Rgb> pixels;
  for (int i = 0; i < 63; ++i) pixels.push_back({image[i], image[63 + i], image[126 + i]});
  const auto unit = [](double v) { return std::clamp(v, 0.0, 1.0); };
  for (const JitterStep& step : steps) {
    double mean = 0;
    for (const Rgb& v : pixels) mean += grey(v) / 63;
    for (Rgb& v : pixels) {
      const double f = step.amount;
      const auto blend = [&](double with) {
        v = {unit(f * v.r + (1 - f) * with), unit(f * v.g + (1 - f) * with), unit(f * v.b + (1 - f) * with)};
      };
      if (step.kind == Jitter::kBrightness) blend(0);
      if (step.kind == Jitter::kContrast) blend(mean);
      if (step.kind == Jitter::kSaturation) blend(grey(v));
      if (step.kind == Jitter::kHue) v = turned(v, f);
    }
  }
  std::vector<double> out(189);
  for (int i = 0; i < 63; ++i) out[i] = pixels[i].r, out[63 + i] = pixels[i].g, out[126 + i] = pixels[i].b;
  return out;
}

TEST(ImageOperations, JitterEqualsTheDefinition) {
  const std::vector<std::vector<JitterStep>> all = {{{Jitter::kBrightness, 1.4f}},
                                                    {{Jitter::kContrast, 0.3f}},
                                                    {{Jitter::kContrast, 1.9f}},
                                                    {{Jitter::kSaturation, 0.2f}},
                                                    {{Jitter::kSaturation, 1.7f}},
                                                    {{Jitter::kHue, 0.3f}},
                                                    {{Jitter::kHue, -0.45f}},
                                                    {{Jitter::kHue, 0.1f},
                                                     {Jitter::kContrast, 1.2f},
                                                     {Jitter::kSaturation, 0.6f},
                                                     {Jitter::kBrightness, 0.7f}}};
  for (std::size_t k = 0; k < all.size(); ++k) {
    auto image = random_image(4 + static_cast<std::uint32_t>(k));
    image[5] = image[63 + 5] = image[126 + 5] = 0.25f;  // grey
    image[6] = image[63 + 6] = image[126 + 6] = 0;      // black
    const auto expected = jitter_reference(image, all[k]);
    jitter(kPlanes, all[k], image.data());
    for (std::size_t i = 0; i < expected.size(); ++i)
      ASSERT_NEAR(image[i], expected[i], 2e-5) << k << " " << i;
  }
}

// The same choice with another generator: mean share and mean logarithm of the ratio.
std::pair<double, double> means_of_parts(double height, double width, double share, int count) {
  std::mt19937 random(3);
  const auto uniform = [&] { return std::generate_canonical<double, 53>(random); };
  double shares = 0, ratios = 0;
  for (int i = 0; i < count;) {
    const double area = height * width * (share + (1 - share) * uniform());
    const double ratio = std::exp(std::log(0.75) + (std::log(4.0 / 3) - std::log(0.75)) * uniform());
    const double w = std::round(std::sqrt(area * ratio)), h = std::round(std::sqrt(area / ratio));
    if (w > width || h > height) continue;
    shares += w * h / (height * width) / count;
    ratios += std::log(w / h) / count;
    ++i;
  }
  return {shares, ratios};
}

TEST(ImageOperations, PartsAreWithinTheImageAndAsLargeAsAsked) {
  Random random(1, RandomPurpose::kAugmentation);
  double share_sum = 0, ratio_sum = 0;
  constexpr int kCount = 4000;
  for (int i = 0; i < kCount; ++i) {
    const PixelBox box = choose_part({300, 400}, 0.08, random);
    ASSERT_GE(box.top, 0);
    ASSERT_GE(box.left, 0);
    ASSERT_LE(box.top + box.height, 300);
    ASSERT_LE(box.left + box.width, 400);
    const double share = box.height * box.width / 120'000;
    ASSERT_GT(share, 0.078);
    ASSERT_NEAR(std::log(box.width / box.height), 0, std::log(4.0 / 3) + 0.02);
    share_sum += share;
    ratio_sum += std::log(box.width / box.height);
  }
  const auto [share, ratio] = means_of_parts(300, 400, 0.08, 100'000);
  EXPECT_NEAR(share_sum / kCount, share, 0.02);
  EXPECT_NEAR(ratio_sum / kCount, ratio, 0.015);
  // No part of this shape fits: the middle, as far as it goes.
  const PixelBox middle = choose_part({10, 1000}, 1, random);
  EXPECT_EQ(middle.height, 10);
  EXPECT_EQ(middle.width, 13);
  EXPECT_EQ(middle.left, 493);
}

TEST(ImageOperations, BetaHasItsMoments) {
  for (const double alpha : {0.05, 0.2, 1.0, 4.0}) {
    Random random(9, RandomPurpose::kAugmentation);
    double sum = 0, squares = 0;
    constexpr int kCount = 20'000;
    for (int i = 0; i < kCount; ++i) {
      const double value = symmetric_beta(alpha, random);
      ASSERT_GE(value, 0);
      ASSERT_LE(value, 1);
      sum += value / kCount;
      squares += (value - 0.5) * (value - 0.5) / kCount;
    }
    EXPECT_NEAR(sum, 0.5, 0.015) << alpha;
    EXPECT_NEAR(squares * 4 * (2 * alpha + 1), 1, 0.05) << alpha;
  }
}

}  // namespace
}  // namespace seng::image_operations_test
