// Rounding to bfloat16 against the definition, and the kernels on such values against those on floats.
#include "actors/engine/bf16.h"

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "actors/engine/linalg.h"

namespace seng {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// Random bit patterns: every size of number, infinities and NaNs among them.
std::vector<float> patterns(std::size_t count, std::mt19937& random) {
  std::vector<float> values(count);
  for (float& value : values) value = std::bit_cast<float>(std::uint32_t(random()));
  return values;
}

std::vector<float> ordinary(std::size_t count, std::mt19937& random) {
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

TEST(Bf16, RoundsToTheNearestOfTiesToTheEven) {
  std::mt19937 random(std::random_device{}());
  for (const float value : patterns(200'000, random)) {
    const float rounded = widen(narrow(value));
    if (std::isnan(value)) {
      ASSERT_TRUE(std::isnan(rounded));
      ASSERT_EQ(std::signbit(rounded), std::signbit(value));
      continue;
    }
    const std::uint16_t below = std::uint16_t(std::bit_cast<std::uint32_t>(value) >> 16);  // toward zero
    const double low = widen(below), high = widen(std::uint16_t(below + 1)), exact = value;
    if (std::isinf(value) || std::isinf(high)) continue;
    const double to_low = std::abs(exact - low), to_high = std::abs(high - exact);
    const double expected = to_low < to_high || (to_low == to_high && below % 2 == 0) ? low : high;
    ASSERT_EQ(double(rounded), expected) << exact;
  }
}

TEST(Bf16, KeepsItsOwnValuesAndTheEndsOfTheRange) {
  for (std::uint32_t bits = 0; bits < 65536; ++bits) {
    const float value = widen(std::uint16_t(bits));
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(widen(narrow(value))));
    } else {
      EXPECT_EQ(narrow(value), bits);
    }
  }
  EXPECT_EQ(narrow(1.00390625f), narrow(1.0f)) << "a tie, to the even";
  EXPECT_EQ(widen(narrow(1.01171875f)), 1.015625f) << "a tie, to the even";
  EXPECT_EQ(widen(narrow(std::numeric_limits<float>::max())), kInfinity);
  EXPECT_EQ(widen(narrow(-std::numeric_limits<float>::max())), -kInfinity);
  // A NaN whose upper half alone would be an infinity.
  EXPECT_TRUE(std::isnan(widen(narrow(std::bit_cast<float>(0x7f800001u)))));
}

TEST(Bf16, ArraysAreRoundedAsOneValueIs) {
  std::mt19937 random(std::random_device{}());
  const std::vector<float> values = patterns(1003, random);
  std::vector<std::uint16_t> narrowed(values.size());
  narrow(values.data(), narrowed.data(), values.size());
  std::vector<float> widened(values.size());
  widen(narrowed.data(), widened.data(), values.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    ASSERT_EQ(narrowed[i], narrow(values[i]));
    ASSERT_EQ(std::bit_cast<std::uint32_t>(widened[i]), std::uint32_t(narrowed[i]) << 16);
  }
}

TEST(Bf16, ProductsHaveTheBitsOfTheWidenedValues) {
  std::mt19937 random(std::random_device{}());
  for (const std::size_t width : {1u, 17u, 64u, 300u, 4096u, 9001u}) {
    const std::size_t rows = 1 + random() % 21, ld = width + random() % 5;
    const std::vector<float> x = ordinary(width, random), b = ordinary(rows, random);
    std::vector<std::uint16_t> matrix(rows * ld);
    const std::vector<float> exact = ordinary(matrix.size(), random);
    narrow(exact.data(), matrix.data(), matrix.size());
    std::vector<float> wide(matrix.size());
    widen(matrix.data(), wide.data(), matrix.size());
    std::vector<double> y(rows), y_wide(rows);
    row_dots(matrix.data(), ld, rows, width, x.data(), y.data());
    row_dots(wide.data(), ld, rows, width, x.data(), y_wide.data());
    EXPECT_EQ(y, y_wide) << width;
    std::vector<float> sum = ordinary(width, random), sum_wide = sum;
    add_weighted_rows(matrix.data(), ld, rows, width, b.data(), sum.data());
    add_weighted_rows(wide.data(), ld, rows, width, b.data(), sum_wide.data());
    EXPECT_EQ(sum, sum_wide) << width;
  }
}

TEST(Bf16, FindsWhatIsNotFinite) {
  std::mt19937 random(std::random_device{}());
  for (const float bad : {kInfinity, -kInfinity, std::numeric_limits<float>::quiet_NaN()}) {
    std::vector<std::uint16_t> values(1 + random() % 100, narrow(-3.0f));
    EXPECT_TRUE(all_finite(values.data(), values.size()));
    values[random() % values.size()] = narrow(bad);
    EXPECT_FALSE(all_finite(values.data(), values.size()));
  }
}

}  // namespace
}  // namespace seng
