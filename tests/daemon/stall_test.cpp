#include "daemon/stall.h"

#include <gtest/gtest.h>

namespace seng {
namespace {

Progress report(std::uint8_t activity, std::uint64_t counter, std::vector<ActorId> awaits = {},
                double mean_s = 0) {
  Progress out;
  out.activity = activity;
  out.counter = counter;
  out.awaits = std::move(awaits);
  if (mean_s > 0) {
    out.micro_batches = 10;
    out.compute_seconds = 10 * mean_s;
  }
  return out;
}

TEST(Stall, ASlowActorIsNotAHungOne) {
  Stall stall(Timeouts{});
  EXPECT_FALSE(stall.deadline());
  stall.watch({0, 1}, 100);
  EXPECT_FALSE(stall.check(1000)) << "nothing was heard yet: that is the lease's matter";
  stall.heard(0, report(kComputing, 1, {}, 0.01), 100);
  stall.heard(1, report(kComputing, 1, {}, 0.5), 100);
  EXPECT_EQ(stall.deadline(), 102.0) << "2 leases at least";
  stall.heard(0, report(kComputing, 2, {}, 0.01), 101.9);
  EXPECT_FALSE(stall.check(103.8)) << "actor 1 may take 10 s for a micro-batch";
  const auto verdict = stall.check(103.9);
  ASSERT_TRUE(verdict);
  EXPECT_EQ(verdict->actor, 0u);
  EXPECT_NE(verdict->why.find("computing for 2.0 s"), std::string::npos) << verdict->why;
  stall.heard(0, report(kComputing, 3, {}, 0.01), 109);
  ASSERT_TRUE(stall.check(110));
  EXPECT_EQ(stall.check(110)->actor, 1u);
}

// All wait for a newcomer, to which the last step's record does not come.
TEST(Stall, ANewcomerThatIsCutOffIsNotWaitedForLong) {
  Stall stall(Timeouts{});
  stall.joins(2, 0);
  EXPECT_FALSE(stall.deadline()) << "nobody trains";
  stall.watch({0, 1}, 0);
  stall.joins(1, 0);
  stall.joins(2, 0);
  stall.joiner_heard(2, report(kWaiting, 5), 1);
  stall.heard(0, report(kComputing, 1, {}, 100), 1);
  stall.heard(1, report(kComputing, 1, {}, 100), 1);
  stall.parked(0, 10);
  EXPECT_FALSE(stall.check(100)) << "the step takes its time";
  stall.parked(1, 100);
  EXPECT_EQ(stall.deadline(), 103.0);
  stall.joiner_heard(2, report(kWaiting, 6), 102);
  EXPECT_FALSE(stall.check(104.9)) << "a piece of it has come";
  const auto verdict = stall.check(105);
  ASSERT_TRUE(verdict);
  EXPECT_EQ(verdict->actor, 2u);
  stall.silent(2);
  EXPECT_FALSE(stall.check(1000)) << "that is the lease's matter";
  stall.joins(3, 1000);
  stall.parked(3, 1001);
  EXPECT_FALSE(stall.check(2000));
}

TEST(Stall, WithoutAKnownSpeedAndWhileSavingItIsPatient) {
  Stall stall(Timeouts{});
  stall.watch({0, 1}, 0);
  stall.heard(0, report(kComputing, 0), 0);
  stall.heard(1, report(kSaving, 9, {}, 0.001), 1);
  EXPECT_FALSE(stall.check(59.9));
  EXPECT_EQ(stall.check(60)->actor, 0u);
  stall.heard(0, report(kComputing, 1), 60);
  EXPECT_EQ(stall.check(61)->actor, 1u);
}

TEST(Stall, OnlyWhoIsHeardHangs) {
  Stall stall(Timeouts{});
  stall.watch({0, 1}, 0);
  stall.heard(0, report(kComputing, 1, {}, 0.01), 0);
  stall.heard(1, report(kComputing, 1, {}, 0.01), 0);
  stall.silent(0);
  stall.lost(1);
  EXPECT_FALSE(stall.check(100)) << "a stopped one, and a dead one";
  stall.heard(0, report(kComputing, 1, {}, 0.01), 100);
  EXPECT_FALSE(stall.check(101.9));
  EXPECT_TRUE(stall.check(102)) << "heard again, it computes on or it hangs";
}

TEST(Stall, WhoHasParkedWaitsForTheOthers) {
  Stall stall(Timeouts{});
  stall.watch({0, 1, 2}, 0);
  stall.heard(0, report(kWaiting, 1, {2}), 1);
  stall.heard(1, report(kComputing, 1, {}, 0.01), 1);
  stall.heard(2, report(kComputing, 1, {}, 0.01), 1);
  stall.parked(1, 2);
  stall.parked(2, 2);
  stall.heard(2, report(kIdle, 1), 4);
  EXPECT_FALSE(stall.check(4.9));
  ASSERT_TRUE(stall.check(5)) << "its word to actor 0 does not come: the connection is cut";
  EXPECT_EQ(stall.check(5)->actor, 2u);
  stall.parked(0, 5);
  EXPECT_FALSE(stall.check(100)) << "now all have parked";
}

TEST(Stall, WhenAllWaitTheMostAwaitedGoes) {
  Stall stall(Timeouts{});
  stall.watch({0, 1, 2}, 0);
  stall.heard(0, report(kWaiting, 1, {2}), 0);
  stall.heard(1, report(kWaiting, 1, {0, 2}), 0);
  EXPECT_FALSE(stall.check(10)) << "one was not heard";
  stall.heard(2, report(kWaiting, 1, {0, 1}), 1);
  stall.heard(0, report(kWaiting, 1, {2}), 2) /* again: no progress */;
  EXPECT_EQ(stall.deadline(), 4.0);
  EXPECT_FALSE(stall.check(3.9));
  ASSERT_TRUE(stall.check(4));
  EXPECT_EQ(stall.check(4)->actor, 2u) << "of 0 and 2, both awaited twice, the higher one";
  stall.heard(1, report(kComputing, 2), 4);
  EXPECT_FALSE(stall.check(5.9)) << "one computes";
  stall.watch({0}, 0);
  stall.heard(0, report(kWaiting, 1), 0);
  EXPECT_FALSE(stall.check(100)) << "one alone waits for nobody";
  stall.heard(7, report(kComputing, 1), 0);
  EXPECT_FALSE(stall.check(1000)) << "a stranger";
}

// A one-way cut in the step behind which the group parks: the others have committed it and wait for the
// daemon.
TEST(Stall, WhoeverIsAwaitedByTheLastOneOfAParkedGroupGoes) {
  Stall stall(Timeouts{});
  stall.watch({0, 1, 2}, 0);
  stall.heard(0, report(kIdle, 5), 1);
  stall.heard(1, report(kIdle, 5), 2);
  EXPECT_FALSE(stall.check(100)) << "one was not heard";
  stall.heard(2, report(kComputing, 5), 1.5);
  EXPECT_FALSE(stall.check(3.4)) << "one computes";
  stall.heard(2, report(kWaiting, 6, {0}), 2.5);
  EXPECT_EQ(stall.deadline(), 5.5);
  ASSERT_TRUE(stall.check(5.5));
  EXPECT_EQ(stall.check(5.5)->actor, 0u);
  stall.heard(2, report(kIdle, 6), 6);
  EXPECT_FALSE(stall.check(100)) << "all have parked";
}

// All wait in the next step for the leader, which waits for the part of one of them: what that one said is
// held back.
TEST(Stall, WhomTheLeaderGathersFromIsJudgedInItsPlace) {
  Stall stall(Timeouts{});
  stall.watch({0, 1, 2, 3}, 0);
  stall.heard(0, report(kSaving, 5, {1}), 1);
  for (const ActorId other : {1u, 2u, 3u}) stall.heard(other, report(kWaiting, 5, {0}), 2);
  EXPECT_EQ(stall.deadline(), 5.0);
  EXPECT_FALSE(stall.check(4.9));
  ASSERT_TRUE(stall.check(5));
  EXPECT_EQ(stall.check(5)->actor, 1u);
  stall.heard(1, report(kSaving, 6), 5);
  EXPECT_FALSE(stall.check(64.9)) << "it evaluates its part";
  EXPECT_EQ(stall.check(65)->actor, 1u) << "it hangs in it";
  stall.heard(1, report(kSaving, 7), 65);
  EXPECT_FALSE(stall.check(100));
  stall.silent(1);
  EXPECT_FALSE(stall.check(1000)) << "silence is the lease's matter, and the leader does nothing wrong";
}

}  // namespace
}  // namespace seng
