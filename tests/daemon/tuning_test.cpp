#include "daemon/tuning.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace seng {
namespace {

using ::testing::HasSubstr;

TEST(Tuning, AsksTheLowestOnce) {
  Tuning tuning(true);
  EXPECT_FALSE(tuning.settled());
  EXPECT_EQ(tuning.ask({}), std::nullopt);
  EXPECT_EQ(tuning.ask({3, 5}), 3u);
  EXPECT_EQ(tuning.ask({3, 5}), std::nullopt) << "it is at it";
  EXPECT_EQ(tuning.ask({1, 3, 5}), std::nullopt) << "though a lower one has come";
  EXPECT_FALSE(tuning.measured(5)) << "nobody asked it";
  EXPECT_TRUE(tuning.measured(3));
  EXPECT_FALSE(tuning.settled()) << "it is not stored yet";
  EXPECT_FALSE(tuning.measured(3)) << "told twice";
  EXPECT_EQ(tuning.ask({5}), std::nullopt) << "it has measured, whatever became of it";
  tuning.settle();
  EXPECT_TRUE(tuning.settled());
  EXPECT_EQ(tuning.ask({5}), std::nullopt);
  EXPECT_FALSE(tuning.measured(5));
}

TEST(Tuning, AsksAnotherWhenTheFirstIsGone) {
  Tuning tuning(true);
  EXPECT_EQ(tuning.ask({0, 1}), 0u);
  EXPECT_EQ(tuning.ask({1}), 1u);
  EXPECT_EQ(tuning.ask({}), std::nullopt);
  EXPECT_EQ(tuning.ask({2}), 2u);
  EXPECT_TRUE(tuning.measured(2));
}

TEST(Tuning, TheFirstWordCounts) {
  Tuning tuning(true);
  EXPECT_EQ(tuning.ask({0, 1}), 0u);
  EXPECT_EQ(tuning.ask({1}), 1u) << "0 is silent";
  EXPECT_TRUE(tuning.measured(0)) << "and is heard again, with its measurements";
  EXPECT_FALSE(tuning.measured(1));
}

TEST(Tuning, IsSettledWhereNothingIsWanted) {
  Tuning tuning(false);
  EXPECT_TRUE(tuning.settled());
  EXPECT_EQ(tuning.ask({0}), std::nullopt);
  EXPECT_FALSE(tuning.measured(0));
}

TEST(TuningOf, CountsWhatCameAlong) {
  JobPlan plan;
  EXPECT_EQ(tuning_of(plan).choices, "");
  plan.choices = "H100; data f32 = 1; forward f32 = 6";
  EXPECT_EQ(tuning_of(plan).choices, "") << "a job that is not tuned has no use for them";
  plan.tune = true;
  const TuningRecord found = tuning_of(plan);
  EXPECT_EQ(found.choices, plan.choices);
  EXPECT_EQ(found.device, "H100");
  EXPECT_EQ(found.count, 2u);
  EXPECT_EQ(found.actor, kNoActor);
}

TEST(TuningText, SaysWhatWasGained) {
  TuningRecord tuning;
  tuning.device = "H100";
  tuning.count = 24;
  tuning.candidates = 60;
  tuning.expected_ms = 8;
  tuning.chosen_ms = 6;
  tuning.seconds = 2.5;
  EXPECT_EQ(
      tuning_text(tuning),
      "24 choices for H100: a micro-batch's convolutions take 6.000 ms, by the library's own expectation "
      "8.000 ms (25.0 % less); 60 candidates were measured in 2.5 s");
  tuning.expected_ms = 0;
  EXPECT_THAT(tuning_text(tuning), HasSubstr("(0.0 % less)"));
}

}  // namespace
}  // namespace seng
