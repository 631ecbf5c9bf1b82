#include "actors/step_reports.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace seng {
namespace {

using ::testing::ElementsAre;

StepMetrics made(std::uint64_t step, double loss = 1) {
  return {.step = step, .loss = loss};
}

std::vector<std::uint64_t> taken(StepReports& reports) {
  std::vector<std::uint64_t> out;
  for (const StepMetrics& step : reports.take()) out.push_back(step.step);
  return out;
}

TEST(StepReports, TheLastStepsAreRepeatedWhoeverReportedThem) {
  StepReports reports;
  for (std::uint64_t step = 1; step <= 3; ++step) reports.add(made(step), false);
  reports.add(made(4), true);
  EXPECT_THAT(taken(reports), ElementsAre(4));
  EXPECT_THAT(taken(reports), ElementsAre());
  reports.repeat();
  EXPECT_THAT(taken(reports), ElementsAre(1, 2, 3, 4));
  reports.forget();
  reports.repeat();
  EXPECT_THAT(taken(reports), ElementsAre());
}

TEST(StepReports, WhatCouldNotBeSentGoesBeforeWhatHasComeSince) {
  StepReports reports;
  reports.add(made(1), true);
  const auto first = reports.take();
  reports.add(made(2), true);
  reports.put_back(first);
  EXPECT_THAT(taken(reports), ElementsAre(1, 2));
}

// The group goes on from an earlier step, or from another one of that number.
TEST(StepReports, StepsThatWereLeftAreNotReportedAnyMore) {
  StepReports reports;
  for (std::uint64_t step = 1; step <= 5; ++step) reports.add(made(step, 7), true);
  reports.go_on_from(3, made(3, 8));
  const auto told = reports.take();
  ASSERT_EQ(told.size(), 3u);
  EXPECT_EQ(told[1].loss, 7);
  EXPECT_EQ(told[2].loss, 8);
  reports.go_on_from(2, {}, 2);  // restored: nothing is known of it
  EXPECT_THAT(taken(reports), ElementsAre());
  reports.add(made(3, 9), true);
  reports.repeat();
  EXPECT_THAT(taken(reports), ElementsAre(1, 2, 3));
}

// What could not be sent comes back when the membership has changed meanwhile.
TEST(StepReports, WhatComesBackIsDroppedWhereItWasLeft) {
  StepReports reports;
  for (std::uint64_t step = 1; step <= 4; ++step) reports.add(made(step), true);
  const std::vector<StepMetrics> unsent = reports.take();
  reports.go_on_from(2, made(2), 2);
  reports.put_back(unsent);
  EXPECT_THAT(taken(reports), ElementsAre(1, 2));
  reports.add(made(3), true);
  reports.put_back(reports.take());
  EXPECT_THAT(taken(reports), ElementsAre(3));
}

// They may be older than the last ones that are known.
TEST(StepReports, WhatTheDaemonHasHeardOfIsNotRepeated) {
  StepReports reports;
  for (std::uint64_t step = 1; step <= 5; ++step) reports.add(made(step), false);
  reports.go_on_from(4, made(4), 2);
  EXPECT_THAT(taken(reports), ElementsAre(3, 4));
  reports.go_on_from(4, made(4), 4);
  EXPECT_TRUE(reports.empty());
  reports.add(made(5), true);
  for (std::uint64_t step = 6; step <= 8; ++step) reports.add(made(step), false);
  reports.repeat(6);
  EXPECT_THAT(taken(reports), ElementsAre(5, 7, 8));
}

}  // namespace
}  // namespace seng
