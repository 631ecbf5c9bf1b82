// The reduction ratio's promised change against the model's definition, and the rule.
#include "actors/optim/damping_control.h"

#include <cmath>
#include <limits>

#include "actors/optim/update.h"
#include "tests/actors/optim/problem.h"

namespace seng::damping_control_test {
namespace {

using testing::Problem;
using testing::random_problem;

struct Case {
  std::string name;
  Block block;
  CurvatureForm form;
  friend void PrintTo(const Case& one, std::ostream* out) { *out << one.name; }
};

class PromisedChange : public ::testing::TestWithParam<std::tuple<Case, bool>> {};

double dot_of(const std::vector<float>& a, const std::vector<double>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < b.size(); ++i) sum += double(a[i]) * b[i];
  return sum;
}

// g^T delta + 1/2 delta^T F delta, delta being what the step really does to the weights, in double.
TEST_P(PromisedChange, IsTheQuadraticModelOfTheStepThatIsMade) {
  const auto& [which, nesterov] = GetParam();
  const std::uint64_t seed = testing::fresh_seed();
  SCOPED_TRACE("SENG_TEST_SEED=" + std::to_string(seed));
  std::mt19937_64 random(seed);
  const Problem problem = random_problem(which.block, 24, random);
  OptimizerSpec optimizer;
  optimizer.momentum = 0.8;
  optimizer.weight_decay = 0.01;
  optimizer.nesterov = nesterov;
  const double lr = 0.3, scale = 0.7, lambda = 2;
  std::vector<float> momentum = testing::random_floats(random, which.block.count, 0, 0.2);
  std::vector<float> weights = testing::random_floats(random, which.block.count);

  Lanes lanes(2);
  Curvature curvature = with_fragments(problem, which.form, 6, 1, lambda);
  ASSERT_TRUE(curvature.accept(lanes));
  EXPECT_EQ(curvature.damping(99), lambda);
  std::vector<float> d(which.block.count);
  const double product = curvature.precondition(problem.g, d, 1, lanes);
  const std::vector<float> v = unpreconditioned_part(optimizer, momentum, weights);
  StepModel model;
  model.slope = inner_product(problem.g, v, lanes);
  model.vv = curvature.curvature_along(v, lanes);
  model.vd = model.slope - lambda * inner_product(v, d, lanes);
  model.dd = product - lambda * inner_product(d, d, lanes);
  const double promised = predicted_change(optimizer, lr, scale, product, model);

  const std::vector<float> before = weights;
  momentum_update({.lr = float(lr),
                   .momentum = float(optimizer.momentum),
                   .weight_decay = float(optimizer.weight_decay),
                   .scale = float(scale),
                   .nesterov = nesterov},
                  d, momentum, weights);
  std::vector<double> delta(weights.size());
  for (std::size_t i = 0; i < delta.size(); ++i) delta[i] = double(weights[i]) - double(before[i]);
  std::vector<float> single(delta.begin(), delta.end());
  // F delta by the curvature's own inverse: F x = g where F^-1 g = x; here by its definition, block by block.
  double quadratic = 0;
  if (which.form.representation == Representation::kScale) {
    for (const double each : delta) quadratic += each * each;
  } else if (which.form.representation == Representation::kKronecker) {
    quadratic = curvature.curvature_along(single, lanes);  // against the dense matrix in kronecker_test.cpp
  } else {
    for (int i = 0; i < problem.samples; ++i) {
      double along = 0;
      const std::vector<double> u = sample_gradient(problem, i);
      for (std::size_t j = 0; j < u.size(); ++j) along += u[j] * delta[j];
      quadratic += along * along / problem.samples;
    }
  }
  const double expected = dot_of(problem.g, delta) + 0.5 * quadratic;
  EXPECT_NEAR(promised, expected, 2e-5 * (std::abs(dot_of(problem.g, delta)) + 0.5 * quadratic));
}

INSTANTIATE_TEST_SUITE_P(
    Blocks, PromisedChange,
    ::testing::Combine(
        ::testing::Values(Case{"convolution", testing::convolution_block({2, 4, 6, 5, 3, 3, 1, 1, true}),
                               Representation::kImplicit},
                          Case{"linear", testing::linear_block(30, 7, true), Representation::kImplicit},
                          Case{"explicit", testing::linear_block(30, 7, true), Representation::kExplicit},
                          Case{"norm", testing::batch_norm_block(17, 9), Representation::kExplicit},
                          Case{"scale", testing::batch_norm_block(17, 9), Representation::kScale},
                          Case{"kfac", testing::linear_block(30, 7, true), Representation::kKronecker}),
        ::testing::Bool()),
    [](const auto& test) {
      return std::get<0>(test.param).name + (std::get<1>(test.param) ? "_nesterov" : "_heavy_ball");
    });

TEST(DampingBeforeTheFirstRefresh, IsOfTheIdentity) {
  const Block block = testing::linear_block(3, 2, false);
  Curvature curvature(block, {});
  Lanes lanes(1);
  EXPECT_EQ(curvature.damping(0.5), 0.5);
  EXPECT_EQ(curvature.curvature_along(std::vector<float>{1, 2, 0, 0, 0, 2}, lanes), 9);
}

TEST(AdaptedDamping, FollowsTheRatioWithinItsBounds) {
  const AdaptiveDampingSpec spec{.every = 2, .factor = 2, .min = 0.1, .max = 8};
  for (const auto& [ratio, from, to] :
       std::vector<std::tuple<double, double, double>>{{0.8, 1, 0.5},
                                                       {0.76, 1, 0.5},
                                                       {0.75, 1, 1},
                                                       {0.5, 1, 1},
                                                       {0.25, 1, 1},
                                                       {0.24, 1, 2},
                                                       {-3, 1, 2},
                                                       {9, 1, 0.5},
                                                       {1, 0.15, 0.1},
                                                       {1, 0.1, 0.1},
                                                       {0, 5, 8},
                                                       {NAN, 1, 2},
                                                       {-std::numeric_limits<double>::infinity(), 1, 2}})
    EXPECT_EQ(adapted_damping(spec, from, ratio), to) << ratio;
}

TEST(InnerProduct, DoesNotDependOnLanes) {
  std::mt19937_64 random(testing::fresh_seed());
  const std::vector<float> a = testing::random_floats(random, 200'001),
                           b = testing::random_floats(random, 200'001);
  Lanes one(1), three(3);
  const double expected = dot_of(a, std::vector<double>(b.begin(), b.end()));
  EXPECT_EQ(inner_product(a, b, one), inner_product(a, b, three));
  EXPECT_NEAR(inner_product(a, b, one), expected, 1e-3);
}

}  // namespace
}  // namespace seng::damping_control_test
