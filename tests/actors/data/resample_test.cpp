#include "actors/data/resample.h"

#include <cmath>
#include <random>

#include <gtest/gtest.h>

namespace seng {
namespace {

// The definition, in double and without regard to speed: every pixel of the image counts by the product of
// two triangles around the output's centre.
std::vector<double> reference(const std::vector<double>& image, int channels, PixelSize size,
                              const PixelBox& box, PixelSize to) {
  const auto weight = [](double at, double centre, double support) {
    return std::max(0.0, 1 - std::abs(at + 0.5 - centre) / support);
  };
  const double down = box.height / to.height, across = box.width / to.width;
  std::vector<double> out;
  for (int c = 0; c < channels; ++c)
    for (int y = 0; y < to.height; ++y)
      for (int x = 0; x < to.width; ++x) {
        double sum = 0, total = 0;
        for (int i = 0; i < size.height; ++i)
          for (int j = 0; j < size.width; ++j) {
            const double w = weight(i, box.top + (y + 0.5) * down, std::max(1.0, down)) *
                             weight(j, box.left + (x + 0.5) * across, std::max(1.0, across));
            sum += w * image[(std::size_t(c) * size.height + i) * size.width + j];
            total += w;
          }
        out.push_back(sum / total);
      }
  return out;
}

TEST(Resample, EqualsTheDefinition) {
  std::mt19937 random(7);
  const PixelSize size{11, 14};
  std::vector<double> planes(3 * 11 * 14);
  std::vector<std::uint8_t> bytes(planes.size());  // [H, W, C]
  std::vector<float> floats(planes.size());        // [C, H, W]
  for (int c = 0; c < 3; ++c)
    for (int p = 0; p < 11 * 14; ++p) {
      const auto value = static_cast<std::uint8_t>(random());
      planes[c * 154 + p] = floats[c * 154 + p] = value;
      bytes[3 * p + c] = value;
    }
  for (const PixelBox& box : {PixelBox{0, 0, 11, 14}, PixelBox{2, 3, 5, 4}, PixelBox{0.5, 1.25, 9.75, 12.5}})
    for (const PixelSize& to : {PixelSize{11, 14}, PixelSize{4, 3}, PixelSize{20, 17}, PixelSize{1, 1}}) {
      const auto expected = reference(planes, 3, size, box, to);
      std::vector<float> a(expected.size()), b(expected.size());
      resample(Raster<std::uint8_t>{bytes.data(), size, 3, 1, 42, 3}, box, to, a.data());
      resample(Raster<float>{floats.data(), size, 3, 154, 14, 1}, box, to, b.data());
      for (std::size_t i = 0; i < expected.size(); ++i) ASSERT_NEAR(a[i], expected[i], 1e-3);
      EXPECT_EQ(a, b);
    }
}

TEST(Resample, AWholeImageAtItsSizeIsItself) {
  std::vector<float> image(2 * 6 * 5), out(image.size());
  for (std::size_t i = 0; i < image.size(); ++i) image[i] = static_cast<float>(i * i % 101);
  resample(Raster<float>{image.data(), {6, 5}, 2, 30, 5, 1}, {0, 0, 6, 5}, {6, 5}, out.data());
  EXPECT_EQ(out, image);
}

}  // namespace
}  // namespace seng
