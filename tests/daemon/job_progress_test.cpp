#include "daemon/job_progress.h"

#include <cmath>

#include <gtest/gtest.h>

namespace seng {
namespace {

JobPlan plan_of(std::uint32_t batch, std::uint64_t samples, std::uint64_t steps) {
  JobPlan plan;
  plan.batch_global = batch;
  plan.train_samples = samples;
  plan.steps_total = steps;
  plan.epochs_total = static_cast<double>(batch) * static_cast<double>(steps) / static_cast<double>(samples);
  return plan;
}

Progress steps(std::uint64_t first, std::uint64_t last, double loss, double seconds = 0.5) {
  Progress out;
  out.applied_step = last;
  for (std::uint64_t s = first; s <= last; ++s) {
    StepMetrics m;
    m.step = s;
    m.loss = loss;
    m.accuracy = 1 - loss;
    m.seconds = seconds;
    out.steps.push_back(m);
  }
  return out;
}

EpochReport epoch(double at, std::uint64_t step, double loss, double test_accuracy = -1) {
  EpochReport out;
  out.metrics.epoch = at;
  out.metrics.step = step;
  out.metrics.train_loss = loss;
  out.metrics.train_accuracy = 1 - loss;
  out.metrics.test_accuracy = test_accuracy;
  out.metrics.test_loss = test_accuracy >= 0 ? loss + 1 : 0;
  return out;
}

TEST(JobProgress, CountsStepsSamplesAndPasses) {
  JobProgress progress(plan_of(64, 512, 20));
  JobRecord record;
  progress.on(steps(1, 4, 0.5), true, record);
  EXPECT_EQ(record.step, 4u);
  EXPECT_EQ(record.samples_seen, 256u);
  EXPECT_DOUBLE_EQ(record.epochs, 0.5);
  EXPECT_DOUBLE_EQ(record.images_per_second, 128);
  Progress other;
  other.applied_step = 5;
  progress.on(other, false, record);
  EXPECT_EQ(record.step, 5u) << "a step that one member has applied is committed";
  other.applied_step = 3;
  progress.on(other, false, record);
  EXPECT_EQ(record.step, 5u);
  other.applied_step = ~0ull;
  progress.on(other, false, record);
  EXPECT_EQ(record.step, 20u) << "never beyond the job's end, whatever an actor says";
}

TEST(JobProgress, TrainLossIsTheMeanOfTheEpochInHand) {
  JobProgress progress(plan_of(64, 512, 24));
  JobRecord record;
  progress.on(steps(1, 4, 1.0), true, record);
  progress.on(steps(5, 8, 2.0), true, record);
  progress.on(steps(5, 8, 9.0), true, record);  // sent again
  EXPECT_DOUBLE_EQ(record.train_loss, 1.5);
  progress.on(epoch(1.0, 8, 1.25, 0.8), record);
  EXPECT_DOUBLE_EQ(record.train_loss, 1.25);
  EXPECT_DOUBLE_EQ(record.train_accuracy, -0.25);
  EXPECT_DOUBLE_EQ(record.test_accuracy, 0.8);
  EXPECT_DOUBLE_EQ(record.test_loss, 2.25);
  progress.on(steps(9, 10, 7.0), true, record);
  EXPECT_DOUBLE_EQ(record.train_loss, 7.0) << "the next epoch begins anew";
  progress.on(steps(11, 12, 3.0), true, record);
  EXPECT_DOUBLE_EQ(record.train_loss, 5.0);
  progress.on(epoch(1.5, 12, 0.5), record);
  EXPECT_DOUBLE_EQ(record.train_loss, 5.0) << "an evaluation within an epoch does not end it";
  EXPECT_DOUBLE_EQ(record.test_accuracy, 0.8) << "not evaluated this time";
  progress.on(epoch(2.0, 16, 0.25), record);
  EXPECT_DOUBLE_EQ(record.train_loss, 0.375) << "the mean of both halves";
}

TEST(JobProgress, WhatTheLeaderSaidOfAnEpochStaysThoughItsStepsComeLater) {
  JobProgress progress(plan_of(64, 512, 24));
  JobRecord record;
  EXPECT_LT(record.train_accuracy, 0) << "not known before the first step";
  progress.on(steps(1, 6, 1.0), true, record);
  progress.on(epoch(1.0, 8, 0.75), record);
  progress.on(steps(7, 8, 9.0), true, record);
  EXPECT_DOUBLE_EQ(record.train_loss, 0.75);
  progress.on(steps(9, 9, 2.0), true, record);
  EXPECT_DOUBLE_EQ(record.train_loss, 2.0);
}

TEST(JobProgress, AReportWithinAPassThatComesBeforeItsStepsIsTheLossSoFar) {
  JobProgress progress(plan_of(64, 60'000, 5));
  JobRecord record;
  progress.on(epoch(5 * 64 / 60'000.0, 5, 0.75, 0.5), record);
  EXPECT_DOUBLE_EQ(record.train_loss, 0.75);
  progress.on(steps(1, 5, 0.25), true, record);
  EXPECT_DOUBLE_EQ(record.train_loss, 0.75);
}

TEST(JobProgress, StepsThatADaemonBeforeHadNotStoredCountBehindNewerOnes) {
  JobProgress progress(plan_of(64, 60'000, 60));
  JobRecord record;
  progress.go_on_from(8);
  progress.on(steps(13, 60, 1.0), true, record);
  progress.on(steps(1, 12, 3.0), true, record);
  progress.on(steps(13, 60, 7.0), true, record);
  EXPECT_DOUBLE_EQ(record.train_loss, (12 * 3.0 + 48 * 1.0) / 60);
}

// They say nothing of the speed now, nor of the epoch in hand if they are of one before.
TEST(JobProgress, LateStepsLeaveTheSpeedAndAnotherEpochAlone) {
  JobProgress progress(plan_of(64, 512, 24));
  JobRecord record;
  progress.go_on_from(4);
  progress.on(steps(10, 11, 1.0), true, record);
  EXPECT_DOUBLE_EQ(record.images_per_second, 128);
  progress.on(steps(5, 8, 3.0, 7.0), true, record);
  EXPECT_DOUBLE_EQ(record.train_loss, 1.0);
  progress.on(steps(9, 9, 2.5, 7.0), true, record);
  EXPECT_DOUBLE_EQ(record.train_loss, 1.5);
  EXPECT_NEAR(record.images_per_second, 128, 1e-9);
}

// Of one that its maker could not report any more.
TEST(JobProgress, AStepWithoutSecondsSaysNothingOfTheSpeed) {
  JobProgress progress(plan_of(64, 512, 24));
  JobRecord record;
  progress.on(steps(1, 1, 1.0, 0), true, record);
  EXPECT_EQ(record.images_per_second, 0);
  progress.on(steps(2, 3, 1.0), true, record);
  progress.on(steps(4, 4, 3.0, 0), true, record);
  EXPECT_NEAR(record.images_per_second, 128, 1e-9);
  EXPECT_DOUBLE_EQ(record.train_loss, 1.5);
}

TEST(JobProgress, APassThatEndsWithinAStepIsWhole) {
  // 60000 / 256 = 234.375 steps a pass; five passes are 1171 whole steps.
  JobProgress progress(plan_of(256, 60000, 1171));
  JobRecord record;
  const auto at = [](std::uint64_t step) { return static_cast<double>(step) * 256 / 60000; };
  std::uint64_t ends[] = {235, 469, 704, 938, 1171};
  double loss = 1;
  for (const std::uint64_t step : ends) {
    progress.on(epoch(at(step), step, loss), record);
    EXPECT_DOUBLE_EQ(record.train_loss, loss) << step;
    loss /= 2;
  }
}

TEST(JobProgress, NotANumberPassesThrough) {
  JobProgress progress(plan_of(64, 512, 24));
  JobRecord record;
  progress.on(steps(1, 1, NAN), true, record);
  EXPECT_TRUE(std::isnan(record.train_loss));
}

TEST(JobProgress, HashesAndCheckpoints) {
  JobProgress progress(plan_of(64, 512, 24));
  JobRecord record;
  progress.on(CheckpointReport{8, "/c/step-8", "w8", "s8", ""}, record);
  progress.on(CheckpointReport{16, "/c/step-16", "w16", "s16", "disk full"}, record);
  EXPECT_EQ(record.checkpoint, "/c/step-8");
  EXPECT_EQ(record.state_sha256, "s8");
  progress.on(Finished{24, false, "", ""}, record);
  EXPECT_EQ(record.weights_sha256, "w8") << "only the leader knows them";
  progress.on(Finished{24, false, "w24", "s24"}, record);
  EXPECT_EQ(record.weights_sha256, "w24");
  EXPECT_EQ(record.state_sha256, "s24");
  EXPECT_EQ(record.step, 24u);
}

}  // namespace
}  // namespace seng
