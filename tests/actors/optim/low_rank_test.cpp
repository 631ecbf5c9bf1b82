// Cutting factors to rank p, against singular values by Jacobi's method in double.
#include "actors/optim/low_rank.h"

#include <cmath>
#include <numeric>

#include <gtest/gtest.h>

#include "tests/actors/optim/problem.h"

namespace seng {
namespace {

using testing::convolution_block;
using testing::DenseFisher;
using testing::Problem;
using testing::random_problem;

// G = sum of sigma_j x_j y_j^T with random orthonormal x_j (m), y_j (kappa): its singular values are known.
struct KnownMatrix {
  std::vector<float> values;
  std::vector<std::vector<double>> right;  // y_j
  std::vector<double> sigma;
};

std::vector<std::vector<double>> orthonormal(std::size_t count, std::size_t width, std::mt19937_64& random) {
  std::normal_distribution<double> normal;
  std::vector<std::vector<double>> out(count, std::vector<double>(width));
  for (auto& row : out)
    for (double& value : row) value = normal(random);
  for (std::size_t i = 0; i < count; ++i) {
    for (int twice = 0; twice < 2; ++twice)
      for (std::size_t j = 0; j < i; ++j) {
        const double along = std::inner_product(out[i].begin(), out[i].end(), out[j].begin(), 0.0);
        for (std::size_t k = 0; k < width; ++k) out[i][k] -= along * out[j][k];
      }
    const double length = testing::norm(out[i]);
    for (double& value : out[i]) value /= length;
  }
  return out;
}

KnownMatrix known_matrix(std::size_t m, std::size_t kappa, double decay, std::mt19937_64& random) {
  KnownMatrix made;
  const std::size_t rank = std::min(m, kappa);
  const auto left = orthonormal(rank, m, random);
  made.right = orthonormal(rank, kappa, random);
  std::vector<double> values(m * kappa, 0.0);
  for (std::size_t j = 0; j < rank; ++j) {
    made.sigma.push_back(std::pow(decay, double(j)));
    for (std::size_t o = 0; o < m; ++o)
      for (std::size_t k = 0; k < kappa; ++k)
        values[o * kappa + k] += made.sigma[j] * left[j][o] * made.right[j][k];
  }
  made.values.assign(values.begin(), values.end());
  return made;
}

double energy_of(const KnownMatrix& g, std::size_t m, std::size_t kappa, const std::vector<float>& basis,
                 std::size_t p) {
  double sum = 0;
  for (std::size_t j = 0; j < p; ++j)
    for (std::size_t o = 0; o < m; ++o) {
      double dot = 0;
      for (std::size_t k = 0; k < kappa; ++k)
        dot += double(basis[j * kappa + k]) * double(g.values[o * kappa + k]);
      sum += dot * dot;
    }
  return sum;
}

struct Shape {
  std::size_t m, kappa, p;
};
struct LeadingCase {
  Shape shape;
  RankMethod method;
  friend void PrintTo(const LeadingCase& one, std::ostream* out) {
    *out << one.shape.m << "x" << one.shape.kappa << "_rank" << one.shape.p
         << (one.method == RankMethod::kSvd ? "_svd" : "_subspace");
  }
};

std::vector<LeadingCase> leading_cases() {
  std::vector<LeadingCase> out;
  for (const Shape& shape : {Shape{12, 30, 4}, Shape{30, 12, 4}, Shape{8, 8, 8}, Shape{5, 40, 5},
                             Shape{40, 5, 1}, Shape{1, 9, 1}, Shape{9, 1, 1}, Shape{64, 256, 16}})
    for (const RankMethod method : {RankMethod::kSvd, RankMethod::kSubspace}) out.push_back({shape, method});
  return out;
}

class LeadingSubspace : public ::testing::TestWithParam<LeadingCase> {};

TEST_P(LeadingSubspace, IsOrthonormalAndHoldsTheMost) {
  const auto& [shape, method] = GetParam();
  const std::uint64_t seed = testing::fresh_seed();
  SCOPED_TRACE("SENG_TEST_SEED=" + std::to_string(seed));
  std::mt19937_64 random(seed);
  const KnownMatrix g = known_matrix(shape.m, shape.kappa, 0.6, random);
  std::vector<float> basis(shape.p * shape.kappa, NAN);
  leading_subspace(g.values.data(), shape.m, shape.kappa, shape.p, method,
                   Random(seed, RandomPurpose::kSubspace, 1, 2), basis.data());
  for (std::size_t i = 0; i < shape.p; ++i)
    for (std::size_t j = 0; j <= i; ++j) {
      double dot = 0;
      for (std::size_t k = 0; k < shape.kappa; ++k)
        dot += double(basis[i * shape.kappa + k]) * double(basis[j * shape.kappa + k]);
      // A row of which rounding is all that is left is none: what is held, below, bounds what that may cost.
      const bool none = i == j && method == RankMethod::kSubspace && dot == 0;
      EXPECT_TRUE(none || std::abs(dot - (i == j)) <= 2e-5) << i << " " << j << " " << dot;
    }
  double best = 0;
  for (std::size_t j = 0; j < shape.p; ++j) best += g.sigma[j] * g.sigma[j];
  const double held = energy_of(g, shape.m, shape.kappa, basis, shape.p);
  const double slack = method == RankMethod::kSvd ? 1e-5 : 1e-2;  // the iteration is near the optimum
  EXPECT_FALSE(!(held >= (1 - slack) * best)) << held / best;
  EXPECT_LE(held, best * (1 + 1e-5));
}

INSTANTIATE_TEST_SUITE_P(Shapes, LeadingSubspace, ::testing::ValuesIn(leading_cases()),
                         ::testing::PrintToStringParamName());

// Gradients that have all but vanished: their directions are as good as any.
TEST(LowRank, ARowOfDenormalNumbersHasADirection) {
  std::mt19937_64 random(testing::fresh_seed());
  for (const auto& [m, kappa, p] : {Shape{4, 12, 2}, Shape{12, 4, 2}}) {
    KnownMatrix g = known_matrix(m, kappa, 0.6, random);
    for (float& value : g.values) value *= 1e-39f;
    for (const RankMethod method : {RankMethod::kSvd, RankMethod::kSubspace}) {
      std::vector<float> basis(p * kappa, NAN);
      leading_subspace(g.values.data(), m, kappa, p, method, Random(1, RandomPurpose::kSubspace, 1, 2),
                       basis.data());
      for (std::size_t i = 0; i < p; ++i) {
        const double square = std::inner_product(basis.begin() + std::ptrdiff_t(i * kappa),
                                                 basis.begin() + std::ptrdiff_t((i + 1) * kappa),
                                                 basis.begin() + std::ptrdiff_t(i * kappa), 0.0);
        EXPECT_TRUE(std::isfinite(square) && square < 1.01) << square;
      }
    }
  }
}

TEST(LowRank, EnergiesAreTheSquaredSingularValues) {
  std::mt19937_64 random(testing::fresh_seed());
  for (const Shape& shape : {Shape{6, 20, 0}, Shape{20, 6, 0}}) {
    const KnownMatrix g = known_matrix(shape.m, shape.kappa, 0.5, random);
    const std::vector<double> cumulated = cumulated_energy(g.values.data(), shape.m, shape.kappa);
    ASSERT_EQ(cumulated.size(), 6u);
    double sum = 0;
    for (std::size_t j = 0; j < 6; ++j) {
      sum += g.sigma[j] * g.sigma[j];
      EXPECT_NEAR(cumulated[j], sum, 1e-5 * sum);
    }
  }
}

TEST(LowRank, TheRankIsTheSmallestThatHoldsTheShare) {
  const std::vector<std::vector<double>> samples = {{8, 9, 10}, {4, 9, 10}};
  EXPECT_EQ(rank_for_energy(samples, 0.6, 3), 1);   // 12 of 20
  EXPECT_EQ(rank_for_energy(samples, 0.61, 3), 2);  // 18 of 20
  EXPECT_EQ(rank_for_energy(samples, 0.91, 3), 3);
  EXPECT_EQ(rank_for_energy(samples, 0.91, 2), 2);  // the cap
  EXPECT_EQ(rank_for_energy(samples, 1.0, 100), 3);
  EXPECT_EQ(rank_for_energy({}, 0.9, 5), 1);
}

// The direction is that of the cut gradients, u_i = vec((G_i Q_i)(A_i Q_i)^T): they are read from the
// fragment and put together by loops.
TEST(LowRank, TheDirectionIsThatOfTheCutGradients) {
  const std::uint64_t seed = testing::fresh_seed();
  SCOPED_TRACE("SENG_TEST_SEED=" + std::to_string(seed));
  std::mt19937_64 random(seed);
  for (const bool bias : {false, true}) {
    const Block block = convolution_block({2, 5, 6, 5, 3, 3, 1, 1, bias});
    const Problem problem = random_problem(block, 12, random);
    const CurvatureForm form(Representation::kLowRank, 2);
    const FragmentShape shape = fragment_shape(block, form, 12);
    const std::vector<float> values = make_fragment(block, shape, problem.factors(0, 12));
    const std::size_t m = 5, n = 18, width = n + bias, p = 2;
    ASSERT_EQ(values.size(), 12 * p * (width + m));
    DenseFisher fisher(problem);
    std::fill(fisher.matrix.begin(), fisher.matrix.end(), 0.0);
    double cut_away = 0;
    for (int i = 0; i < 12; ++i) {
      const float *a = values.data() + std::size_t(i) * p * width,
                  *g = values.data() + 12 * p * width + std::size_t(i) * p * m;
      std::vector<double> u(block.count, 0.0);
      for (std::size_t k = 0; k < p; ++k)
        for (std::size_t o = 0; o < m; ++o) {
          for (std::size_t j = 0; j < n; ++j) u[o * n + j] += double(g[k * m + o]) * double(a[k * width + j]);
          if (bias) u[m * n + o] += double(g[k * m + o]) * double(a[k * width + n]);
        }
      const std::vector<double> whole = sample_gradient(problem, i);
      double difference = 0;
      for (std::size_t j = 0; j < u.size(); ++j) difference += (u[j] - whole[j]) * (u[j] - whole[j]);
      cut_away += std::sqrt(difference) / testing::norm(whole) / 12;
      for (std::size_t x = 0; x < block.count; ++x)
        for (std::size_t y = 0; y < block.count; ++y) fisher.matrix[x * block.count + y] += u[x] * u[y] / 12;
    }
    EXPECT_GT(cut_away, 0.02);  // it is an approximation here
    EXPECT_LT(cut_away, 1.0);
    const double lambda = fisher.norm();
    const std::vector<double> expected = fisher.solve(lambda, problem.g);
    Curvature curvature = with_fragments(problem, form, 3, 7, lambda);
    Lanes lanes(2);
    ASSERT_TRUE(curvature.accept(lanes));
    std::vector<float> d(block.count, NAN);
    curvature.precondition(problem.g, d, 1.0, lanes);
    // The fragments of with_fragments have another key than the one above, and so another start of the
    // iteration.
    EXPECT_FALSE(!(testing::distance(d, expected) <= 3e-2 * testing::norm(expected)));
    Curvature same(block, {.micro_batches = 1, .samples_per_micro = 12, .form = form});
    same.begin_refresh(7, lambda);
    ASSERT_TRUE(same.add_fragment(0, values));
    ASSERT_TRUE(same.accept(lanes));
    same.precondition(problem.g, d, 1.0, lanes);
    EXPECT_FALSE(!(testing::distance(d, expected) <= 1e-5 * testing::norm(expected)));
  }
}

TEST(LowRank, ValuesThatAreNotFiniteAreRefusedAndNotSolved) {
  std::mt19937_64 random(testing::fresh_seed());
  const Block block = convolution_block({2, 5, 6, 5, 3, 3, 1, 1, true});
  for (const float bad : {NAN, INFINITY}) {
    Problem problem = random_problem(block, 4, random);
    problem.gradients[7] = bad;
    for (const RankMethod method : {RankMethod::kSvd, RankMethod::kSubspace}) {
      Curvature curvature = with_fragments(problem, {Representation::kLowRank, 2, method}, 2, 1, 0.5);
      Lanes lanes(1);
      EXPECT_FALSE(curvature.accept(lanes));
    }
  }
}

}  // namespace
}  // namespace seng
