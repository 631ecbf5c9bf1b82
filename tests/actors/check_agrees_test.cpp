// Which other schedule and length a job may have that goes on from a checkpoint.
#include <string>
#include <utility>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "actors/restore.h"

namespace seng {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

JobSpec spec_of(const std::string& schedule, const std::string& length) {
  return parse_job_spec(
             "model: mlp\n"
             "data: {name: synthetic, train: 100, test: 4, channels: 1, height: 4, width: 4, classes: 5}\n"
             "batch: {global: 42, micro: 6}\noptimizer: {name: sgd, lr: {initial: 0.05, " +
                 schedule + "}}\n" + length + "\n",
             "test")
      .value();
}

Workload workload_of(const std::string& schedule, const std::string& length) {
  return load_workload(spec_of(schedule, length)).value();
}

// What check_agrees says where the job had the schedule and length `before` and has `now`.
std::string schedules_agree(const std::pair<std::string, std::string>& before,
                            const std::pair<std::string, std::string>& now) {
  const Status agrees =
      check_agrees(workload_of(now.first, now.second), spec_of(before.first, before.second));
  return agrees ? "agrees" : agrees.error().message;
}

TEST(CheckAgrees, TheScheduleMustEndAtTheSameStep) {
  const auto said = [](const std::string& lr, const std::string& length) {
    return schedules_agree({lr, "steps: 10"}, {lr, length});
  };
  for (const char* by_length : {"schedule: cosine", "schedule: exp", "schedule: poly"}) {
    EXPECT_THAT(said(by_length, "steps: 11"), HasSubstr("epoch 4.2 (step 10) and 4.62 (step 11)"));
    EXPECT_THAT(said(by_length, "epochs: 4.3"), HasSubstr("epoch 4.2 (step 10) and 4.3 (step 11)"));
    EXPECT_EQ(said(by_length, "epochs: 4.2"), "agrees");  // 10 steps too
  }
  EXPECT_THAT(said("schedule: cosine", "steps: 11"),
              AllOf(HasSubstr("ends with the job: only --set steps=10"), HasSubstr("--init-from")));
  EXPECT_THAT(schedules_agree({"schedule: cosine", "epochs: 4"}, {"schedule: cosine", "epochs: 5"}),
              HasSubstr("only --set epochs=4 "));
  for (const char* own : {"schedule: constant", "schedule: step, milestones: [1, 9]",
                          "schedule: exp, end_epochs: 7", "schedule: poly, end_epochs: 7"})
    EXPECT_EQ(said(own, "steps: 11"), "agrees") << own;
}

// 4 epochs of 100 samples are 9.5 batches of 42: ten steps, 4.2 epochs.
TEST(CheckAgrees, ALongerJobGoesOnWithTheSchedulesEndSaidOutLoud) {
  for (const std::string kind : {"schedule: exp", "schedule: poly, final: 0.01"}) {
    EXPECT_THAT(schedules_agree({kind, "epochs: 4"}, {kind, "epochs: 7"}),
                AllOf(HasSubstr("epoch 4 (step 10) and 7 (step 17)"),
                      HasSubstr("--set optimizer.lr.end_epochs=4 keeps the schedule"),
                      HasSubstr(kind.ends_with("exp") ? "rate at 0 " : "rate at 0.01 ")));
    for (const char* same : {", end_epochs: 4", ", end_epochs: 4.2"})
      EXPECT_EQ(schedules_agree({kind, "epochs: 4"}, {kind + same, "epochs: 7"}), "agrees") << same;
    EXPECT_EQ(schedules_agree({kind + ", end_epochs: 7", "epochs: 4"}, {kind, "epochs: 7"}), "agrees");
    EXPECT_THAT(schedules_agree({kind, "epochs: 4"}, {kind + ", end_epochs: 4.3", "epochs: 4"}),
                HasSubstr("epoch 4 (step 10) and 4.3 (step 11)"));
    EXPECT_EQ(workload_of(kind, "epochs: 4").schedule_end, 4.2);
    EXPECT_EQ(workload_of(kind + ", end_epochs: 4", "epochs: 7").schedule_end, 4.2);
  }
}

}  // namespace
}  // namespace seng
