// Products of bfloat16 operands against double precision, with the processor's own instruction and without.
#include "actors/engine/bf16_product.h"

#include <cmath>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "actors/engine/cpu/gemm_avx512_bf16.h"

namespace seng::bf16_product_test {
namespace {

struct Shape {
  std::size_t m, n, k, ldb, ldc;
};

// Around a tile's 8 rows and 48 columns, a packed panel's 512 rows, an odd number of rows.
const Shape kShapes[] = {{1, 1, 1, 1, 1},          {8, 48, 2, 48, 48},         {9, 49, 3, 60, 51},
                         {64, 400, 768, 577, 400}, {512, 17, 513, 4608, 4608}, {7, 95, 1025, 95, 100},
                         {130, 1, 511, 577, 1}};

struct Problem {
  explicit Problem(const Shape& s) : shape(s), rows(s.k * s.m), weights(s.k), b(s.k * s.ldb) {
    std::mt19937 random(std::random_device{}());
    std::normal_distribution<float> normal;
    for (float& value : rows) value = normal(random);
    for (float& value : weights) value = normal(random);
    for (Bf16& value : b) value = narrow(normal(random));
  }
  std::vector<std::uint16_t> pairs() const {
    std::vector<std::uint16_t> out(paired_size(shape.k, shape.m), 0x7fc0);  // NaN: all is written
    for (std::size_t r = 0; r < shape.k; r += 2) {
      const bool both = r + 1 < shape.k;
      put_pair(rows.data() + r * shape.m, weights[r], both ? rows.data() + (r + 1) * shape.m : nullptr,
               both ? weights[r + 1] : 0, shape.m, out.data() + r * shape.m);
    }
    return out;
  }
  // |C - A^T B| / | |A|^T |B| |, of the rounded operands in double precision.
  double error(const std::vector<float>& c) const {
    double wrong = 0, size = 0;
    for (std::size_t i = 0; i < shape.m; ++i) {
      for (std::size_t j = 0; j < shape.n; ++j) {
        double sum = 0, magnitude = 0;
        for (std::size_t r = 0; r < shape.k; ++r) {
          const double product =
              double(widen(narrow(weights[r] * rows[r * shape.m + i]))) * double(widen(b[r * shape.ldb + j]));
          sum += product;
          magnitude += product * product;
        }
        wrong += (c[i * shape.ldc + j] - sum) * (c[i * shape.ldc + j] - sum);
        size += magnitude;
      }
    }
    return std::sqrt(wrong / size);
  }
  const Shape shape;
  std::vector<float> rows, weights;
  std::vector<std::uint16_t> b;
};

TEST(Bf16Product, IsThatOfTheRoundedOperands) {
  std::vector<void (*)(const cpu::PairsShape&)> ways{cpu::gemm_pairs_widened};
  if (cpu::has_avx512_bf16()) ways.push_back(cpu::gemm_pairs);
  for (const Shape& shape : kShapes) {
    const Problem problem(shape);
    const std::vector<std::uint16_t> a = problem.pairs();
    for (const auto& way : ways) {
      constexpr float kUntouched = 12345;
      std::vector<float> c(shape.m * shape.ldc, kUntouched);
      way({shape.m, shape.n, shape.k, a.data(), problem.b.data(), shape.ldb, c.data(), shape.ldc});
      EXPECT_LT(problem.error(c), 2e-6) << shape.m << " x " << shape.n << " x " << shape.k;
      for (std::size_t i = 0; i < shape.m; ++i)
        for (std::size_t j = shape.n; j < shape.ldc; ++j) ASSERT_EQ(c[i * shape.ldc + j], kUntouched);
    }
  }
}

TEST(Bf16Product, OfSomeColumnsHasTheBitsOfThoseOfAll) {
  const Problem problem({40, 300, 700, 320, 300});
  const Shape& shape = problem.shape;
  const std::vector<std::uint16_t> a = problem.pairs();
  std::vector<float> all(shape.m * shape.n), some(shape.m * 100);
  multiply_pairs(shape.m, shape.n, shape.k, a.data(), problem.b.data(), shape.ldb, all.data(), shape.n);
  multiply_pairs(shape.m, 100, shape.k, a.data(), problem.b.data() + 83, shape.ldb, some.data(), 100);
  for (std::size_t i = 0; i < shape.m; ++i)
    for (std::size_t j = 0; j < 100; ++j) ASSERT_EQ(some[i * 100 + j], all[i * shape.n + 83 + j]);
}

TEST(Bf16Product, KeepsWhatIsNotFinite) {
  Problem problem({8, 16, 4, 16, 16});
  problem.b[5] = narrow(INFINITY);
  const std::vector<std::uint16_t> a = problem.pairs();
  std::vector<float> c(8 * 16);
  multiply_pairs(8, 16, 4, a.data(), problem.b.data(), 16, c.data(), 16);
  for (std::size_t i = 0; i < 8; ++i)
    for (std::size_t j = 0; j < 16; ++j) EXPECT_EQ(std::isfinite(c[i * 16 + j]), j != 5);
}

}  // namespace
}  // namespace seng::bf16_product_test
