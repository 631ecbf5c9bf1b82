// Schedules against closed forms, damping, the trust region, momentum SGD against double.
#include "actors/optim/update.h"

#include <cmath>
#include <limits>
#include <numbers>

#include "protocol/base/error.h"
#include "tests/actors/optim/problem.h"

namespace seng {
namespace {

struct Point {
  double epoch, value;
};
struct ScheduleCase {
  std::string name;
  ScheduleSpec schedule;
  double end;
  std::vector<Point> points;
  friend void PrintTo(const ScheduleCase& one, std::ostream* out) { *out << one.name; }
};

ScheduleSpec spec(std::string kind, double initial) {
  ScheduleSpec schedule;
  schedule.kind = std::move(kind);
  schedule.initial = initial;
  return schedule;
}

std::vector<ScheduleCase> schedule_cases() {
  std::vector<ScheduleCase> cases;
  cases.push_back({"constant", spec("constant", 0.3), 10, {{0, 0.3}, {5, 0.3}, {10, 0.3}, {99, 0.3}}});

  ScheduleSpec exp = spec("exp", 0.05);
  exp.exponent = 6;
  cases.push_back(
      {"exp", exp, 70, {{0, 0.05}, {35, 0.05 / 64}, {65, 0.05 * std::pow(5.0 / 70, 6)}, {70, 0}, {80, 0}}});
  cases.push_back({"exp_short", exp, 20, {{0, 0.05}, {10, 0.05 / 64}, {15, 0.05 / 4096}, {20, 0}, {21, 0}}});
  // .01 -> .1 over 5 epochs, then (1 - (e-5)/60)^6
  exp.initial = 0.1;
  exp.warmup_epochs = 5;
  cases.push_back({"exp_warm_up", exp, 65, {{0, 0.01}, {2.5, 0.055}, {5, 0.1}, {35, 0.1 / 64}, {65, 0}}});

  ScheduleSpec poly = spec("poly", 1.0);
  poly.final = 0.2;
  poly.exponent = 2;
  cases.push_back({"poly", poly, 8, {{0, 1.0}, {4, 0.4}, {6, 0.25}, {8, 0.2}, {12, 0.2}}});
  poly.warmup_epochs = 4;
  cases.push_back({"poly_warm_up", poly, 8, {{0, 0.1}, {1, 0.325}, {4, 1.0}, {6, 0.4}, {8, 0.2}, {9, 0.2}}});

  ScheduleSpec cosine = spec("cosine", 2.0);
  cases.push_back({"cosine", cosine, 6, {{0, 2}, {2, 1.5}, {3, 1}, {4, 0.5}, {6, 0}, {7, 0}}});
  cosine.final = 1.0;
  cosine.warmup_epochs = 2;
  cases.push_back({"cosine_warm_up", cosine, 6, {{0, 0.2}, {1, 1.1}, {2, 2}, {4, 1.5}, {6, 1}, {8, 1}}});

  ScheduleSpec step = spec("step", 0.1);
  step.milestones = {35, 75, 90};
  cases.push_back({"step",
                   step,
                   100,
                   {{0, 0.1}, {34.999, 0.1}, {35, 0.01}, {74, 0.01}, {75, 1e-3}, {90, 1e-4}, {200, 1e-4}}});
  step.gamma = 0.5;
  step.warmup_epochs = 10;
  cases.push_back(
      {"step_warm_up", step, 100, {{0, 0.01}, {5, 0.055}, {10, 0.1}, {35, 0.05}, {75, 0.025}, {90, 0.0125}}});
  cases.push_back({"warm_up_longer_than_the_schedule", exp, 2, {{0, 0.01}, {2, 0.046}}});
  return cases;
}

class ScheduleTest : public ::testing::TestWithParam<ScheduleCase> {};

TEST_P(ScheduleTest, HasItsClosedForm) {
  for (const Point& point : GetParam().points) {
    const double value = schedule_value(GetParam().schedule, point.epoch, GetParam().end);
    EXPECT_NEAR(value, point.value, 1e-12) << "epoch " << point.epoch;
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, ScheduleTest, ::testing::ValuesIn(schedule_cases()),
                         [](const auto& test) { return test.param.name; });

TEST(UnknownScheduleTest, UnknownKindIsOurOwnMistake) {
  EXPECT_THROW(schedule_value(spec("linear", 1), 1, 10), InvariantError);
}

TEST(DampingTest, FallsByStairs) {
  OptimizerSpec optimizer;
  optimizer.damping_initial = 2;
  EXPECT_EQ(damping_value(optimizer, 37), 2.0);
  optimizer.damping_decay = 0.9;
  optimizer.damping_every_epochs = 10;
  EXPECT_EQ(damping_value(optimizer, 0), 2.0);
  EXPECT_EQ(damping_value(optimizer, 9.999), 2.0);
  EXPECT_DOUBLE_EQ(damping_value(optimizer, 10), 1.8);
  EXPECT_DOUBLE_EQ(damping_value(optimizer, 39), 2 * 0.9 * 0.9 * 0.9);
}

TEST(TrustRegionTest, LimitsTheSquaredLength) {
  const std::vector<double> products = {3.0, 0.5, 1.5};
  // lr^2 * sum = 0.05; kappa 0.002: sqrt(0.04)
  EXPECT_DOUBLE_EQ(trust_region_scale(0.002, 0.1, products), 0.2);
  EXPECT_EQ(trust_region_scale(0.06, 0.1, products), 1.0);
  EXPECT_EQ(trust_region_scale(0.0, 0.1, products), 1.0);
  EXPECT_EQ(trust_region_scale(0.002, 0.0, products), 1.0);
  EXPECT_EQ(trust_region_scale(0.002, 0.1, {}), 1.0);
  EXPECT_EQ(trust_region_scale(0.002, 0.1, std::vector<double>{-1.0, 0.5}), 1.0);
  EXPECT_EQ(trust_region_scale(0.002, 0.1, std::vector<double>{1.0, double(NAN)}), 1.0);
  // What it is for: the step it gives is kappa long.
  const double scale = trust_region_scale(0.002, 0.3, products);
  EXPECT_NEAR(scale * scale * 0.3 * 0.3 * 5.0, 0.002, 1e-15);
}

TEST(TrustRegionTest, AddsInBlockOrder) {
  // (1e16 + 1) - 1e16 is 0 in double, 1e16 - 1e16 + 1 is 1.
  EXPECT_EQ(trust_region_scale(0.25, 1, std::vector<double>{1e16, 1, -1e16}), 1.0);
  EXPECT_EQ(trust_region_scale(0.25, 1, std::vector<double>{1e16, -1e16, 1}), 0.5);
}

TEST(LarsTest, TheStepIsAFixedPartOfTheWeights) {
  std::mt19937_64 random(testing::fresh_seed());
  const std::vector<float> w = testing::random_floats(random, 10007),
                           g = testing::random_floats(random, 10007);
  const double eta = 0.02, decay = 0.3;
  const double expected = eta * testing::norm(w) / (testing::norm(g) + decay * testing::norm(w));
  EXPECT_NEAR(lars_scale(eta, decay, w, g), expected, 1e-6 * expected);
  // Without weight decay the step's length is eta times that of the weights, whatever the gradient's.
  EXPECT_NEAR(lars_scale(eta, 0, w, g) * testing::norm(g), eta * testing::norm(w), 1e-6 * testing::norm(w));
  const std::vector<float> zero(5), one(5, 1.0f), bad(5, NAN);
  EXPECT_EQ(lars_scale(eta, decay, zero, one), 1);
  EXPECT_EQ(lars_scale(eta, decay, one, zero), 1);
  EXPECT_EQ(lars_scale(eta, decay, one, bad), 1);
}

class MomentumTest : public ::testing::TestWithParam<bool> {};

// PyTorch's SGD, dampening 0: d <- d + wd*w; m <- mu*m + d; w <- w - lr*(nesterov ? d + mu*m : m).
TEST_P(MomentumTest, FollowsTheDoubleReference) {
  const bool nesterov = GetParam();
  std::mt19937_64 random(testing::fresh_seed());
  const std::size_t count = 1031;
  std::vector<float> weights = testing::random_floats(random, count), momentum(count, 0.0f);
  std::vector<double> w(weights.begin(), weights.end()), m(count, 0.0);
  const UpdateCoefficients c{
      .lr = 0.1f, .momentum = 0.9f, .weight_decay = 0.05f, .scale = 0.7f, .nesterov = nesterov};
  for (int step = 0; step < 5; ++step) {
    const std::vector<float> d = testing::random_floats(random, count);
    momentum_update(c, d, momentum, weights);
    for (std::size_t i = 0; i < count; ++i) {
      const double decayed = double(c.scale) * d[i] + double(c.weight_decay) * w[i];
      m[i] = double(c.momentum) * m[i] + decayed;
      w[i] -= double(c.lr) * (nesterov ? decayed + double(c.momentum) * m[i] : m[i]);
    }
  }
  EXPECT_FALSE(!(testing::distance(weights, w) <= 1e-6 * testing::norm(w)));
  EXPECT_FALSE(!(testing::distance(momentum, m) <= 1e-6 * testing::norm(m)));
}

TEST_P(MomentumTest, BitsDoNotDependOnHowTheRunIsCut) {
  std::mt19937_64 random(testing::fresh_seed());
  const std::size_t count = 203;
  const UpdateCoefficients c{
      .lr = 0.3f, .momentum = 0.9f, .weight_decay = 0.01f, .scale = 0.11f, .nesterov = GetParam()};
  const std::vector<float> d = testing::random_floats(random, count),
                           m = testing::random_floats(random, count),
                           w = testing::random_floats(random, count);
  std::vector<float> whole_m = m, whole_w = w, cut_m = m, cut_w = w;
  momentum_update(c, d, whole_m, whole_w);
  for (std::size_t begin = 0, size = 1; begin < count; begin += size, size = size % 17 + 2) {
    size = std::min(size, count - begin);
    momentum_update(c, std::span(d).subspan(begin, size), std::span(cut_m).subspan(begin, size),
                    std::span(cut_w).subspan(begin, size));
  }
  EXPECT_EQ(whole_m, cut_m);
  EXPECT_EQ(whole_w, cut_w);
}

INSTANTIATE_TEST_SUITE_P(HeavyBallAndNesterov, MomentumTest, ::testing::Bool());

TEST(MomentumRunsTest, RunsOfDifferentLengthAreOurOwnMistake) {
  std::vector<float> three(3), four(4);
  EXPECT_THROW(momentum_update({}, three, three, four), InvariantError);
}

}  // namespace
}  // namespace seng
