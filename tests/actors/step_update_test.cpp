// A step whose gradients overflowed f16, as every member applies it. No device takes part.
#include "actors/step_update.h"

#include <cmath>
#include <limits>

#include <gtest/gtest.h>

namespace seng {
namespace {

Workload workload(const std::string& engine, const std::string& damping = "0.5") {
  const auto spec = parse_job_spec(
      "model: {name: mlp, hidden: \"6\"}\n"
      "data: {name: synthetic, train: 64, test: 16, channels: 1, height: 4, width: 4, classes: 3}\n"
      "batch: {global: 16, micro: 4}\nsteps: 9\n"
      "optimizer: {name: seng, lr: 0.1, momentum: 0.9, damping: " +
          damping + ", curvature: {every: 1, samples: 8}}\nengine: " + engine + "\n",
      "test");
  auto loaded = spec ? load_workload(*spec) : Result<Workload>(fail(spec.error()));
  if (!loaded) throw std::runtime_error(loaded.error().message);
  return std::move(*loaded);
}

// Directions of 1, and `spoilt` as the last value of block 0.
struct Step {
  Step(const Workload& w, float spoilt) {
    for (const Block& block : w.network.blocks())
      values.emplace_back(block.count + block.statistics_count, 1.0f);
    values[0].back() = spoilt;
    values.emplace_back(kSummaryFloats, 8.0f);
    for (const auto& each : values) complete.directions.emplace_back(each);
    complete.inner_products.assign(w.network.blocks().size(), 1);
    complete.refused.assign(w.network.blocks().size(), false);
    complete.refused[0] = true;
  }
  std::vector<std::vector<float>> values;
  StepComplete complete;
};

constexpr float kInfinity = std::numeric_limits<float>::infinity();

TEST(StepUpdate, AnOverflowChangesTheLossScaleAlone) {
  const Workload w = workload("{precision: f16, loss_scale: 64}");
  for (const float spoilt : {kInfinity, -kInfinity, NAN}) {
    for (const int lane_count : {1, 3}) {
      Lanes lanes(lane_count);
      TrainState state = TrainState::initial(w);
      const TrainState before = TrainState::initial(w);
      EXPECT_EQ(state.loss_scale, (LossScale{64, 0}));
      const Step bad(w, spoilt), good(w, 1);
      AppliedStep applied = apply_step(w, bad.complete, lanes, state);
      EXPECT_TRUE(applied.left_out);
      EXPECT_EQ(applied.trust_scale, 0);
      EXPECT_DOUBLE_EQ(applied.loss, 0.5);
      EXPECT_EQ(state.step, 1u);
      EXPECT_EQ(state.parameters, before.parameters);
      EXPECT_EQ(state.momentum, before.momentum);
      EXPECT_EQ(state.statistics, before.statistics);
      EXPECT_EQ(state.loss_scale, (LossScale{32, 0}));
      EXPECT_EQ(state.curvature_steps, (std::vector<std::uint64_t>{0, 1})) << "by the owners' word, as ever";
      applied = apply_step(w, good.complete, lanes, state);
      EXPECT_FALSE(applied.left_out);
      EXPECT_NE(state.parameters, before.parameters);
      EXPECT_EQ(state.loss_scale, (LossScale{32, 1}));
    }
  }
}

TEST(StepUpdate, WithoutAScaleToLowerWhatIsNotFiniteIsSeen) {
  Lanes lanes(1);
  for (const char* engine :
       {"{precision: f16, loss_scale: 1}", "{precision: bf16}", "{convolution: direct}"}) {
    const Workload w = workload(engine);
    TrainState state = TrainState::initial(w);
    EXPECT_FALSE(apply_step(w, Step(w, kInfinity).complete, lanes, state).left_out) << engine;
    EXPECT_FALSE(std::isfinite(state.parameters[w.network.blocks()[0].count - 1])) << engine;
  }
}

TEST(StepUpdate, ARefreshThatEveryBlockRefusesRaisesTheDamping) {
  const Workload w =
      workload("{convolution: auto}", "{initial: 0.5, adaptive: {every: 3, factor: 2, max: 3}}");
  Lanes lanes(1);
  TrainState state = TrainState::initial(w);
  Step some(w, 1), none(w, 1);
  none.complete.refused.assign(w.network.blocks().size(), true);
  (void)apply_step(w, some.complete, lanes, state);
  EXPECT_EQ(state.damping.lambda, 0.5);
  EXPECT_EQ(state.curvature_lambdas, (std::vector<double>{0, 0.5}));
  for (const double lambda : {1.0, 2.0, 3.0, 3.0}) {
    (void)apply_step(w, none.complete, lanes, state);
    EXPECT_EQ(state.damping.lambda, lambda);
    EXPECT_EQ(state.damping.predicted, 0) << "nothing is tried while what was raised is not in force";
  }
  EXPECT_EQ(state.curvature_lambdas, (std::vector<double>{0, 0.5}));
  (void)apply_step(w, some.complete, lanes, state);
  EXPECT_EQ(state.curvature_lambdas, (std::vector<double>{0, 3}));
}

}  // namespace
}  // namespace seng
