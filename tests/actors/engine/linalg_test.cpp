// The dense kernels against plain loops in double, and their promise that bits follow from values and shapes
// alone.
#include "actors/engine/linalg.h"

#include <array>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <random>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace seng {
namespace {

class LinalgTest : public ::testing::Test {
 protected:
  LinalgTest() : seed_(choose_seed()), trace_(__FILE__, __LINE__, "SENG_TEST_SEED=" + std::to_string(seed_)) {
    random_.seed(seed_);
  }

  std::vector<float> floats(std::size_t count) {
    std::normal_distribution<float> normal;
    std::vector<float> values(count);
    for (float& value : values) value = normal(random_);
    return values;
  }
  std::size_t below(std::size_t bound) { return random_() % bound; }

  static std::uint64_t choose_seed() {
    if (const char* fixed = std::getenv("SENG_TEST_SEED")) return std::strtoull(fixed, nullptr, 10);
    return std::random_device()();
  }

  const std::uint64_t seed_;
  ::testing::ScopedTrace trace_;
  std::mt19937_64 random_;
};

struct Product {
  std::size_t m, n, k, lda, ldb, ldc;
  bool ta, tb;
  float alpha, beta;
  std::vector<float> a, b, c;
};

double element(const std::vector<float>& x, std::size_t ld, bool transposed, std::size_t row,
               std::size_t column) {
  return transposed ? x[column * ld + row] : x[row * ld + column];
}

void expect_product(const Product& p, const std::vector<float>& result) {
  for (std::size_t i = 0; i < p.m; ++i) {
    for (std::size_t j = 0; j < p.n; ++j) {
      double sum = 0, size = 0;
      for (std::size_t k = 0; k < p.k; ++k) {
        const double term = element(p.a, p.lda, p.ta, i, k) * element(p.b, p.ldb, p.tb, k, j);
        sum += term;
        size += std::abs(term);
      }
      const double before = p.beta == 0 ? 0 : p.beta * double(p.c[i * p.ldc + j]);
      const double bound = 1e-6 * (std::abs(p.alpha) * size + std::abs(before)) + 1e-30;
      const double error = std::abs(result[i * p.ldc + j] - (p.alpha * sum + before));
      ASSERT_FALSE(!(error <= bound)) << i << "," << j << " of " << p.m << "x" << p.n << "x" << p.k;
    }
    // Between the rows nothing is written.
    for (std::size_t j = p.n; j < p.ldc; ++j) ASSERT_EQ(result[i * p.ldc + j], p.c[i * p.ldc + j]);
  }
}

TEST_F(LinalgTest, GemmEqualsTheDefinition) {
  for (int trial = 0; trial < 300; ++trial) {
    Product p;
    p.m = 1 + below(trial % 3 ? 20 : 90), p.n = 1 + below(trial % 5 ? 20 : 90),
    p.k = trial % 11 == 0  ? 0
          : trial % 7 == 0 ? 500 + below(2600)
                           : 1 + below(300);
    p.ta = below(2), p.tb = below(2);
    p.lda = (p.ta ? p.m : p.k) + 1 + below(3), p.ldb = (p.tb ? p.k : p.n) + below(3) + 1,
    p.ldc = p.n + below(3);
    p.alpha = below(2) ? 1.0f : -0.7f;
    p.beta = std::vector<float>{0.0f, 1.0f, 0.3f}[below(3)];
    p.a = floats((p.ta ? p.k : p.m) * p.lda), p.b = floats((p.tb ? p.n : p.k) * p.ldb),
    p.c = floats(p.m * p.ldc);
    std::vector<float> result = p.c;
    gemm(p.m, p.n, p.k, p.alpha, {p.a.data(), p.lda, p.ta}, {p.b.data(), p.ldb, p.tb}, p.beta, result.data(),
         p.ldc);
    expect_product(p, result);
    if (HasFatalFailure()) return;
  }
}

TEST_F(LinalgTest, GemmWithBetaZeroDoesNotReadTheResult) {
  const std::vector<float> a = floats(17 * 33), b = floats(33 * 9);
  std::vector<float> c(17 * 9, std::numeric_limits<float>::quiet_NaN());
  gemm(17, 9, 33, 1, {a.data(), 33, false}, {b.data(), 9, false}, 0, c.data(), 9);
  EXPECT_TRUE(all_finite(c.data(), c.size()));
  std::fill(c.begin(), c.end(), std::numeric_limits<float>::quiet_NaN());
  gemm(17, 9, 0, 1, {a.data(), 33, false}, {b.data(), 9, false}, 0, c.data(), 9);
  for (const float value : c) EXPECT_EQ(value, 0.0f);
  gemm(0, 9, 3, 1, {a.data(), 3, false}, {b.data(), 9, false}, 0, c.data(), 9);
}

TEST_F(LinalgTest, GemmBitsDoNotDependOnAddresses) {
  for (const auto& [m, n, k] : {std::array<std::size_t, 3>{64, 128, 700},
                                {1, 37, 129},
                                {65, 1, 200},
                                {64, 288, 196},
                                {10, 256, 128}}) {
    for (const bool ta : {false, true}) {
      for (const bool tb : {false, true}) {
        const std::vector<float> a = floats(m * k), b = floats(k * n);
        std::vector<float> first;
        for (int trial = 0; trial < 6; ++trial) {
          const std::size_t oa = trial ? below(64) : 0, ob = trial ? below(64) : 0,
                            oc = trial ? below(64) : 0;
          AlignedBuffer<float> pa(m * k + oa), pb(k * n + ob), pc(m * n + oc);
          std::memcpy(pa.data() + oa, a.data(), a.size() * 4);
          std::memcpy(pb.data() + ob, b.data(), b.size() * 4);
          gemm(m, n, k, 1, {pa.data() + oa, ta ? m : k, ta}, {pb.data() + ob, tb ? k : n, tb}, 0,
               pc.data() + oc, n);
          const std::vector<float> result(pc.data() + oc, pc.data() + oc + m * n);
          if (trial == 0) first = result;
          ASSERT_EQ(result, first) << m << "x" << n << "x" << k << " offsets " << oa << " " << ob << " "
                                   << oc;
        }
      }
    }
  }
}

// What the optimizer cuts into tasks is computed alike in any cut.
TEST_F(LinalgTest, AnEntryOfAGemmOfLongRowsDoesNotDependOnItsNeighbours) {
#if defined(__x86_64__)
  if (!__builtin_cpu_supports("avx512dq")) GTEST_SKIP() << "oneDNN's products promise nothing of the kind";
#else
  GTEST_SKIP() << "oneDNN's products promise nothing of the kind";
#endif
  const std::size_t m = 29, n = 23, k = 1777;
  const std::vector<float> a = floats(m * k), b = floats(n * k);
  std::vector<float> whole(m * n);
  gemm(m, n, k, 1, {a.data(), k, false}, {b.data(), k, true}, 0, whole.data(), n);
  for (int trial = 0; trial < 20; ++trial) {
    const std::size_t i = below(m), j = below(n), rows = 1 + below(m - i), columns = 1 + below(n - j);
    std::vector<float> part(rows * columns);
    gemm(rows, columns, k, 1, {a.data() + i * k, k, false}, {b.data() + j * k, k, true}, 0, part.data(),
         columns);
    for (std::size_t r = 0; r < rows; ++r)
      for (std::size_t c = 0; c < columns; ++c) ASSERT_EQ(part[r * columns + c], whole[(i + r) * n + j + c]);
  }
}

TEST_F(LinalgTest, GemmBitsDoNotDependOnThreads) {
  const std::size_t m = 96, n = 200, k = 1500;
  const std::vector<float> a = floats(m * k), b = floats(k * n);
  std::vector<std::vector<float>> results(5, std::vector<float>(m * n));
  const auto multiply = [&](std::vector<float>& c) {
    for (int i = 0; i < 3; ++i) gemm(m, n, k, 1, {a.data(), k, false}, {b.data(), n, false}, 0, c.data(), n);
  };
  multiply(results[0]);
  std::vector<std::thread> threads;
  for (std::size_t t = 1; t < results.size(); ++t) threads.emplace_back([&, t] { multiply(results[t]); });
  for (std::thread& thread : threads) thread.join();
  for (const auto& result : results) EXPECT_EQ(result, results[0]);
}

// The documented order, one float operation after the other: every instruction set must give these bits.
double dot_as_documented(const float* a, const float* b, std::size_t count) {
  double total = 0;
  for (std::size_t begin = 0; begin < count; begin += 4096) {
    const std::size_t end = std::min(count, begin + 4096);
    float s[4][16] = {}, tail = 0;
    std::size_t j = begin;
    for (; j + 64 <= end; j += 64)
      for (std::size_t l = 0; l < 64; ++l) s[l / 16][l % 16] += a[j + l] * b[j + l];
    for (; j + 16 <= end; j += 16)
      for (std::size_t l = 0; l < 16; ++l) s[0][l] += a[j + l] * b[j + l];
    for (; j < end; ++j) tail += a[j] * b[j];
    float sums[16];
    for (std::size_t l = 0; l < 16; ++l) sums[l] = (s[0][l] + s[1][l]) + (s[2][l] + s[3][l]);
    for (std::size_t width = 1; width < 16; width *= 2)
      for (std::size_t l = 0; l < 16; l += 2 * width) sums[l] += sums[l + width];
    total += double(sums[0] + tail);
  }
  return total;
}

TEST_F(LinalgTest, DotHasTheDocumentedBitsAtAnyAddress) {
  for (const std::size_t count : {0, 1, 15, 16, 17, 63, 64, 65, 200, 4095, 4096, 4097, 4200, 20000}) {
    const std::vector<float> a = floats(count + 8), b = floats(count + 8);
    for (const std::size_t offset : {0, 1, 3, 7}) {
      EXPECT_EQ(dot(a.data() + offset, b.data() + 7 - offset, count),
                dot_as_documented(a.data() + offset, b.data() + 7 - offset, count))
          << count;
    }
    double sum = 0, size = 0;
    for (std::size_t j = 0; j < count; ++j) sum += double(a[j]) * b[j], size += std::abs(double(a[j]) * b[j]);
    EXPECT_FALSE(!(std::abs(dot(a.data(), b.data(), count) - sum) <= 1e-6 * size)) << count;
  }
}

TEST_F(LinalgTest, RowDotsAreDots) {
  const std::size_t rows = 13, width = 301, ld = 310;
  const std::vector<float> matrix = floats(rows * ld), x = floats(width);
  std::vector<double> y(rows);
  row_dots(matrix.data(), ld, rows, width, x.data(), y.data());
  for (std::size_t r = 0; r < rows; ++r) EXPECT_EQ(y[r], dot(matrix.data() + r * ld, x.data(), width));
}

TEST_F(LinalgTest, WeightedRowsEqualTheDefinitionHoweverColumnsAreCut) {
  for (const std::size_t rows : {1, 7, 8, 9, 24, 61}) {
    const std::size_t width = 137, ld = 150;
    const std::vector<float> matrix = floats(rows * ld), b = floats(rows), start = floats(width);
    std::vector<float> y = start, cut = start;
    add_weighted_rows(matrix.data(), ld, rows, width, b.data(), y.data());
    for (std::size_t j = 0; j < width; ++j) {
      double sum = start[j], size = std::abs(sum);
      for (std::size_t r = 0; r < rows; ++r) {
        sum += double(b[r]) * matrix[r * ld + j];
        size += std::abs(double(b[r]) * matrix[r * ld + j]);
      }
      ASSERT_FALSE(!(std::abs(y[j] - sum) <= 1e-6 * size)) << rows << " rows, column " << j;
    }
    for (std::size_t j = 0, size = 3; j < width; j += size, size = size % 29 + 5) {
      add_weighted_rows(matrix.data() + j, ld, rows, std::min(size, width - j), b.data(), cut.data() + j);
    }
    EXPECT_EQ(cut, y);
  }
}

TEST_F(LinalgTest, SparseProductsEqualTheDefinitionHoweverColumnsAreCut) {
  SparseMatrix sparse;  // used again, for matrices that grow and shrink
  for (const auto& [rows, columns, width] : {std::array<std::size_t, 3>{5, 3, 7},
                                             {9, 64, 96},
                                             {17, 65, 97},
                                             {33, 200, 301},
                                             {1, 1, 1},
                                             {4, 130, 192}}) {
    const std::size_t ldb = width + 5, ldc = width + 3;
    std::vector<float> s = floats(rows * columns);
    std::size_t entries = 0;
    for (std::size_t i = 0; i < s.size(); ++i) {
      if (i % 3 == 0 || i / columns == 2) s[i] = 0;
      entries += s[i] != 0 ? 1 : 0;
    }
    const std::vector<float> b = floats(columns * ldb);
    std::vector<float> c(rows * ldc, NAN), cut(rows * ldc, NAN);
    sparse.assign(s.data(), rows, columns);
    EXPECT_EQ(sparse.entries(), entries);
    sparse.multiply(b.data(), ldb, width, c.data(), ldc);
    for (std::size_t r = 0; r < rows; ++r) {
      for (std::size_t j = 0; j < ldc; ++j) {
        double sum = 0, size = 0;
        for (std::size_t k = 0; k < columns && j < width; ++k) {
          sum += double(s[r * columns + k]) * b[k * ldb + j];
          size += std::abs(double(s[r * columns + k]) * b[k * ldb + j]);
        }
        if (j >= width)
          ASSERT_TRUE(std::isnan(c[r * ldc + j])) << "written beside the product";
        else
          ASSERT_FALSE(!(std::abs(c[r * ldc + j] - sum) <= 2e-6 * size)) << r << " " << j;
      }
    }
    for (std::size_t j = 0, size = 3; j < width; j += size, size = size % 129 + 5)
      sparse.multiply(b.data() + j, ldb, std::min(size, width - j), cut.data() + j, ldc);
    for (std::size_t i = 0; i < c.size(); ++i) {
      if (i % ldc < width) {
        ASSERT_EQ(cut[i], c[i]);
      }
    }
  }
}

TEST_F(LinalgTest, AllFiniteSeesEveryPlace) {
  const std::vector<float> bad = {
      std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::quiet_NaN(),
      std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity(),
      std::numeric_limits<float>::signaling_NaN()};
  for (const std::size_t count : {0, 1, 16, 31, 70}) {
    std::vector<float> values = floats(count);
    EXPECT_TRUE(all_finite(values.data(), count));
    for (std::size_t j = 0; j < count; ++j) {
      const float kept = values[j];
      values[j] = bad[j % bad.size()];
      EXPECT_FALSE(all_finite(values.data(), count)) << j << " of " << count;
      values[j] = kept;
    }
  }
  const std::vector<float> extreme = {std::numeric_limits<float>::max(), -std::numeric_limits<float>::max(),
                                      std::numeric_limits<float>::denorm_min(), -0.0f};
  EXPECT_TRUE(all_finite(extreme.data(), extreme.size()));
}

// A = X X^T / width + shift I, its upper triangle spoiled.
std::vector<double> positive_matrix(std::size_t n, const std::vector<float>& x, std::size_t width,
                                    double shift) {
  std::vector<double> a(n * n, std::numeric_limits<double>::quiet_NaN());
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j <= i; ++j) {
      double sum = 0;
      for (std::size_t k = 0; k < width; ++k)
        sum += double(x[i * width + k]) * x[j * width + k] / double(width);
      a[i * n + j] = sum + (i == j ? shift : 0);
    }
  }
  return a;
}

TEST_F(LinalgTest, CholeskySolvesTheSystem) {
  for (const std::size_t n : {1, 2, 15, 16, 17, 33, 64, 130, 300}) {
    const std::size_t width = 40;  // fewer than n: only the shift makes A positive definite
    const std::vector<double> a = positive_matrix(n, floats(n * width), width, 1e-3);
    std::vector<double> l = a, expected(n), x(n, 0.0);
    for (double& value : expected) value = floats(1)[0];
    for (std::size_t i = 0; i < n; ++i) {
      for (std::size_t j = 0; j < n; ++j) x[i] += (i < j ? a[j * n + i] : a[i * n + j]) * expected[j];
    }
    ASSERT_TRUE(cholesky(l.data(), n)) << n;
    cholesky_solve(l.data(), n, x.data());
    double error = 0, size = 0;
    for (std::size_t i = 0; i < n; ++i)
      error += std::pow(x[i] - expected[i], 2), size += std::pow(expected[i], 2);
    EXPECT_FALSE(!(std::sqrt(error / size) <= 1e-9)) << n;
    // L L^T = A
    for (std::size_t i = 0; i < n; ++i) {
      for (std::size_t j = 0; j <= i; ++j) {
        double sum = 0;
        for (std::size_t k = 0; k <= j; ++k) sum += l[i * n + k] * l[j * n + k];
        ASSERT_NEAR(sum, a[i * n + j], 1e-12 * double(n)) << n << ": " << i << "," << j;
      }
    }
  }
}

TEST_F(LinalgTest, CholeskyRefusesWhatIsNotPositiveDefinite) {
  const std::size_t n = 40;
  const std::vector<double> good = positive_matrix(n, floats(n * n), n, 0.1);
  const double nan = std::numeric_limits<double>::quiet_NaN(),
               infinity = std::numeric_limits<double>::infinity();
  for (const double value : {nan, infinity, -infinity, -1.0, 0.0}) {
    for (const std::size_t place : {std::size_t(0), std::size_t(17), n - 1}) {
      std::vector<double> bad = good;
      bad[place * n + place] = value;
      EXPECT_FALSE(cholesky(bad.data(), n)) << value << " at " << place;
    }
  }
  for (const double value : {nan, infinity}) {
    std::vector<double> bad = good;
    bad[20 * n + 11] = value;
    EXPECT_FALSE(cholesky(bad.data(), n)) << value;
  }
  std::vector<double> spare = good;
  EXPECT_TRUE(cholesky(spare.data(), n));
}

TEST(AlignedBufferTest, IsAlignedAndGrows) {
  for (const std::size_t count : {std::size_t(1), std::size_t(1000), std::size_t(3) << 20}) {
    AlignedBuffer<float> buffer(count);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(buffer.data()) % 64, 0u);
    std::fill_n(buffer.data(), count, 1.0f);
  }
  AlignedBuffer<double> empty;
  EXPECT_EQ(empty.data(), nullptr);
  EXPECT_EQ(AlignedBuffer<double>(0).data(), nullptr);
  double* memory = empty.at_least(10);
  EXPECT_EQ(empty.at_least(4), memory);
  EXPECT_EQ(empty.size(), 10u);
  empty.at_least(5000);
  EXPECT_GE(empty.size(), 5000u);
  EXPECT_THROW(AlignedBuffer<char>(std::size_t(-1) - 100), std::bad_alloc);
}

}  // namespace
}  // namespace seng
