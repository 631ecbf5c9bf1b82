// The direction d = F^-1 g against the definition.
#include <cmath>
#include <cstring>
#include <numeric>

#include "actors/optim/curvature.h"
#include "tests/actors/optim/problem.h"

namespace seng {
namespace {

using testing::convolution_block;
using testing::ConvolutionCase;
using testing::DenseFisher;
using testing::Problem;
using testing::random_problem;

struct BlockCase {
  std::string name;
  Block block;
  int samples = 0, micros = 1;
  friend void PrintTo(const BlockCase& one, std::ostream* out) { *out << one.name; }
};

std::vector<BlockCase> block_cases() {
  std::vector<BlockCase> cases;
  const auto conv = [&](ConvolutionCase c, int samples, int micros) {
    for (const bool bias : {false, true}) {
      c.bias = bias;
      cases.push_back({"conv" + std::to_string(c.kernel_h) + "x" + std::to_string(c.kernel_w) + "_stride" +
                           std::to_string(c.stride) + "_padding" + std::to_string(c.padding) + "_image" +
                           std::to_string(c.height) + "x" + std::to_string(c.width) + (bias ? "_bias" : ""),
                       convolution_block(c), samples, micros});
    }
  };
  conv({3, 5, 6, 7, 1, 1, 1, 0, false}, 12, 3);
  conv({3, 5, 6, 7, 1, 1, 2, 0, false}, 12, 4);
  conv({2, 6, 7, 5, 3, 3, 1, 1, false}, 16, 4);
  conv({2, 6, 7, 5, 3, 3, 1, 0, false}, 16, 2);
  conv({2, 6, 8, 7, 3, 3, 2, 1, false}, 16, 1);
  conv({2, 6, 9, 8, 3, 3, 3, 2, false}, 16, 8);
  conv({1, 4, 8, 6, 5, 5, 1, 2, false}, 10, 5);
  conv({1, 4, 9, 11, 5, 5, 2, 0, false}, 10, 1);
  conv({2, 3, 6, 6, 3, 1, 1, 1, false}, 9, 3);    // output wider than the input
  conv({1, 3, 2, 3, 5, 5, 1, 2, false}, 6, 2);    // kernel larger than the image
  conv({6, 8, 3, 3, 3, 3, 2, 1, false}, 140, 7);  // 4 positions: Gram matrix by pairs, in several tiles
  conv({9, 7, 3, 3, 3, 3, 1, 0, false}, 20, 4);   // 1 position
  for (const bool bias : {false, true}) {
    const std::string suffix = bias ? "_bias" : "";
    cases.push_back({"linear" + suffix, testing::linear_block(37, 9, bias), 24, 6});
    cases.push_back({"linear_wide" + suffix, testing::linear_block(450, 1, bias), 8, 1});
    cases.push_back({"linear_tall" + suffix, testing::linear_block(2, 90, bias), 70, 5});
    cases.push_back(
        {"linear_more_samples_than_parameters" + suffix, testing::linear_block(5, 4, bias), 96, 8});
  }
  cases.push_back({"batch_norm", testing::batch_norm_block(19, 12), 30, 5});
  cases.push_back({"batch_norm_1_position", testing::batch_norm_block(40, 1), 16, 2});
  return cases;
}

// All of them exact: the factors are cut to their full rank.
std::vector<CurvatureForm> representations(const Block& block) {
  if (block.kind == BlockKind::kBatchNorm) return {Representation::kExplicit};
  if (block.kind == BlockKind::kLinear) return {Representation::kExplicit, Representation::kImplicit};
  return {Representation::kExplicit,
          Representation::kImplicit,
          {Representation::kLowRank, full_rank(block), RankMethod::kSvd},
          {Representation::kLowRank, full_rank(block), RankMethod::kSubspace}};
}

std::string name_of(const CurvatureForm& form) {
  return std::string(representation_name(form.representation)) +
         (form.rank_method == RankMethod::kSvd ? "_svd" : "");
}

struct Direction {
  std::vector<float> d;
  double inner_product = 0;
};

Direction direction_of(Curvature& curvature, const std::vector<float>& g, int lanes_count = 2) {
  Lanes lanes(lanes_count);
  Direction result{std::vector<float>(g.size(), NAN), 0};
  result.inner_product = curvature.precondition(g, result.d, 1.0, lanes);
  return result;
}

Direction accepted_direction(const Problem& problem, const CurvatureForm& representation, int micros,
                             double lambda, int lanes_count = 2) {
  Curvature curvature = with_fragments(problem, representation, micros, 7, lambda);
  Lanes lanes(lanes_count);
  const Status accepted = curvature.accept(lanes);
  EXPECT_TRUE(accepted) << accepted.error().message;
  return direction_of(curvature, problem.g, lanes_count);
}

class DirectionTest : public ::testing::TestWithParam<BlockCase> {};

TEST_P(DirectionTest, IsTheDenseInverseTimesTheGradient) {
  const std::uint64_t seed = testing::fresh_seed();
  SCOPED_TRACE("SENG_TEST_SEED=" + std::to_string(seed));
  std::mt19937_64 random(seed);
  const Problem problem = random_problem(GetParam().block, GetParam().samples, random);
  const DenseFisher fisher(problem);
  const double lambda = fisher.norm();
  const std::vector<double> expected = fisher.solve(lambda, problem.g);
  const double inner = std::inner_product(expected.begin(), expected.end(), problem.g.begin(), 0.0);
  for (const CurvatureForm& representation : representations(problem.block)) {
    SCOPED_TRACE(name_of(representation));
    const Direction made = accepted_direction(problem, representation, GetParam().micros, lambda);
    const double error = testing::distance(made.d, expected) / testing::norm(expected);
    EXPECT_FALSE(!(error <= 1e-5)) << error;
    EXPECT_GT(made.inner_product, 0);
    EXPECT_FALSE(!(std::abs(made.inner_product - inner) <= 1e-5 * inner))
        << made.inner_product << " " << inner;
  }
}

// How the error grows as lambda falls. Let f = |F - lambda I|, s the singular values of U (s_max^2 = f) and e
// the relative error of a float product, the unit roundoff 2^-24 (long sums are added in parts and signs
// differ). To first order
//   1. rounding in g - U b, where |U b| <= |g|:                                      |dd| <= 2e |g| / lambda
//   2. an error e s_max |g| in c = U^T g goes through U K^-1 / lambda, K = lambda I + U^T U, whose norm is
//      max s / (lambda + s^2) / lambda <= 1 / (2 sqrt(lambda) lambda):               |dd| <= e/2
//      sqrt(f/lambda) |g| / lambda
//   3. an error e f in K changes b by K^-1 dK b, |b| <= |g| / (2 sqrt(lambda)):      |dd| <= e/4 (f/lambda)
//   |g| / lambda
// Together |d - F^-1 g| <= 3 e (1 + f/lambda) |g| / lambda: relative to |g|/lambda, the length of a direction
// outside the samples' span, the error grows like eps |F| / lambda. The Cholesky factor is in double and adds
// nothing.
TEST_P(DirectionTest, ErrorAtSmallDampingStaysInItsBound) {
  const std::uint64_t seed = testing::fresh_seed();
  SCOPED_TRACE("SENG_TEST_SEED=" + std::to_string(seed));
  std::mt19937_64 random(seed);
  const Problem problem = random_problem(GetParam().block, GetParam().samples, random);
  const DenseFisher fisher(problem);
  const double f = fisher.norm(), e = std::pow(2.0, -24);
  for (const double ratio : {1e-1, 1e-2, 1e-3, 1e-4}) {
    const double lambda = ratio * f;
    const std::vector<double> expected = fisher.solve(lambda, problem.g);
    const double bound = 3 * e * (1 + f / lambda) * testing::norm(problem.g) / lambda;
    for (const CurvatureForm& representation : representations(problem.block)) {
      SCOPED_TRACE(name_of(representation) + ", lambda/|F| = " + std::to_string(ratio));
      const Direction made = accepted_direction(problem, representation, GetParam().micros, lambda);
      const double error = testing::distance(made.d, expected);
      EXPECT_FALSE(!(error <= bound)) << error / bound << " of the bound";
    }
  }
}

TEST_P(DirectionTest, BitsDoNotDependOnLanes) {
  const std::uint64_t seed = testing::fresh_seed();
  SCOPED_TRACE("SENG_TEST_SEED=" + std::to_string(seed));
  std::mt19937_64 random(seed);
  const Problem problem = random_problem(GetParam().block, GetParam().samples, random);
  for (const CurvatureForm& representation : representations(problem.block)) {
    const Direction one = accepted_direction(problem, representation, GetParam().micros, 0.5, 1);
    for (const int lanes : {2, 3, 4}) {
      const Direction many = accepted_direction(problem, representation, GetParam().micros, 0.5, lanes);
      EXPECT_EQ(std::memcmp(one.d.data(), many.d.data(), one.d.size() * sizeof(float)), 0)
          << lanes << " lanes";
      EXPECT_EQ(one.inner_product, many.inner_product);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Blocks, DirectionTest, ::testing::ValuesIn(block_cases()),
                         [](const auto& test) { return test.param.name; });

// Blocks of real size, where the dense matrix is out of reach.
struct LargeCase {
  std::string name;
  Block block;
  int samples = 0, micros = 1;
  std::vector<CurvatureForm> representations;
  friend void PrintTo(const LargeCase& one, std::ostream* out) { *out << one.name; }
};

class LargeBlockTest : public ::testing::TestWithParam<LargeCase> {};

TEST_P(LargeBlockTest, SolvesTheSystemForAnyNumberOfLanes) {
  const std::uint64_t seed = testing::fresh_seed();
  SCOPED_TRACE("SENG_TEST_SEED=" + std::to_string(seed));
  std::mt19937_64 random(seed);
  const Problem problem = random_problem(GetParam().block, GetParam().samples, random);
  double mean_square = 0;
  for (int i = 0; i < 8; ++i) mean_square += std::pow(testing::norm(sample_gradient(problem, i)), 2) / 8;
  const double lambda = 0.1 * mean_square;
  std::vector<std::vector<float>> directions;
  for (const CurvatureForm& representation : GetParam().representations) {
    SCOPED_TRACE(name_of(representation));
    const Direction made = accepted_direction(problem, representation, GetParam().micros, lambda, 1);
    const double residual =
        testing::distance(problem.g, apply_fisher(problem, lambda, made.d)) / testing::norm(problem.g);
    EXPECT_FALSE(!(residual <= 1e-5)) << residual;
    const double inner = std::inner_product(made.d.begin(), made.d.end(), problem.g.begin(), 0.0);
    EXPECT_FALSE(!(std::abs(made.inner_product - inner) <= 1e-5 * inner));
    const Direction again = accepted_direction(problem, representation, GetParam().micros, lambda, 3);
    EXPECT_EQ(made.d, again.d);
    EXPECT_EQ(made.inner_product, again.inner_product);
    directions.push_back(made.d);
  }
  const std::vector<double> first(directions.front().begin(), directions.front().end());
  EXPECT_FALSE(!(testing::distance(directions.back(), first) <= 1e-5 * testing::norm(first)));
}

// Behind a rectifier most of G_i is zero; the products that leave zeros out are others than the dense ones.
// Both forms solve the system, for any lanes, whatever part is zero.
TEST(LinearBlock, SolvesTheSystemWithAnyPartOfTheGradientsZero) {
  const std::uint64_t seed = testing::fresh_seed();
  SCOPED_TRACE("SENG_TEST_SEED=" + std::to_string(seed));
  std::mt19937_64 random(seed);
  for (const bool bias : {false, true}) {
    for (const double zeros : {0.3, 0.5, 0.9, 1.0}) {
      Problem problem = random_problem(testing::linear_block(900, 70, bias), 72, random);
      for (float& value : problem.gradients)
        if (std::uniform_real_distribution<>()(random) < zeros) value = 0;
      const double lambda = 5;
      for (const CurvatureForm form : {Representation::kExplicit, Representation::kImplicit}) {
        SCOPED_TRACE(std::to_string(zeros) + " zeros, " + name_of(form));
        const Direction made = accepted_direction(problem, form, 6, lambda, 1);
        const double residual =
            testing::distance(problem.g, apply_fisher(problem, lambda, made.d)) / testing::norm(problem.g);
        EXPECT_FALSE(!(residual <= 1e-5)) << residual;
        const double inner = std::inner_product(made.d.begin(), made.d.end(), problem.g.begin(), 0.0);
        EXPECT_FALSE(!(std::abs(made.inner_product - inner) <= 1e-5 * inner));
        const Direction again = accepted_direction(problem, form, 6, lambda, 3);
        EXPECT_EQ(made.d, again.d);
        EXPECT_EQ(made.inner_product, again.inner_product);
      }
    }
  }
}

const std::vector<CurvatureForm> kBoth = {Representation::kExplicit, Representation::kImplicit};
INSTANTIATE_TEST_SUITE_P(
    Blocks, LargeBlockTest,
    ::testing::Values(
        LargeCase{"lenet_fc1", testing::linear_block(3136, 128, true), 256, 8, {Representation::kImplicit}},
        LargeCase{"linear_both", testing::linear_block(900, 40, true), 96, 8, kBoth},
        LargeCase{"lenet_conv2", convolution_block({32, 64, 14, 14, 3, 3, 1, 1, false}), 32, 8, kBoth},
        // Formed in two runs of channels for the Gram matrix.
        LargeCase{"wide_convolution", convolution_block({72, 64, 6, 6, 3, 3, 1, 1, true}), 64, 8, kBoth},
        LargeCase{"few_positions", convolution_block({64, 80, 4, 4, 3, 3, 2, 1, true}), 160, 8, kBoth}),
    [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace seng
