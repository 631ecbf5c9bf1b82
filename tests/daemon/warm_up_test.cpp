#include "daemon/warm_up.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace seng {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(WarmUps, AreDoneWithTheFirstWord) {
  const Timeouts timeouts;
  WarmUps warm_ups(timeouts, 3);
  EXPECT_FALSE(warm_ups.deadline());
  const std::uint64_t number = warm_ups.begin({5, 6}, 100);
  EXPECT_THAT(warm_ups.newcomers(), ElementsAre(5, 6));
  EXPECT_FALSE(warm_ups.done(5));
  EXPECT_TRUE(warm_ups.said(5, number));
  EXPECT_FALSE(warm_ups.said(5, number)) << "twice";
  EXPECT_FALSE(warm_ups.said(6, number - 1)) << "of another order";
  EXPECT_FALSE(warm_ups.said(7, number)) << "nobody's";
  EXPECT_TRUE(warm_ups.done(5));
  EXPECT_FALSE(warm_ups.done(6));
  warm_ups.over();
  EXPECT_THAT(warm_ups.newcomers(), IsEmpty());
  EXPECT_FALSE(warm_ups.done(5));
  EXPECT_FALSE(warm_ups.deadline());
}

TEST(WarmUps, ThoseOfADaemonBeforeLastUntilAnotherOrderOrMembership) {
  const Timeouts timeouts;
  WarmUps warm_ups(timeouts, 3);
  EXPECT_FALSE(warm_ups.former());
  warm_ups.adopt();
  EXPECT_TRUE(warm_ups.former());
  warm_ups.begin({}, 0);
  EXPECT_FALSE(warm_ups.former());
  warm_ups.adopt();
  warm_ups.over();
  EXPECT_FALSE(warm_ups.former());
}

TEST(WarmUps, NumbersGrowAlsoWithAnotherHead) {
  const Timeouts timeouts;
  WarmUps first(timeouts, 3), second(timeouts, 4);
  const std::uint64_t one = first.begin({5}, 0), two = first.begin({5, 6}, 0);
  EXPECT_LT(one, two);
  EXPECT_LT(two, second.begin({5}, 0));
}

TEST(WarmUps, NobodyIsWaitedForWithoutProgress) {
  const Timeouts timeouts;
  WarmUps warm_ups(timeouts, 1);
  (void)warm_ups.begin({5, 6}, 100);
  const double stall = timeouts.warm_up_stall_s();
  warm_ups.heard(6, 1, false, 105);
  warm_ups.heard(6, 1, false, 110);  // the same count is no progress
  EXPECT_EQ(warm_ups.deadline(), 100 + stall);
  EXPECT_THAT(warm_ups.expire(100 + stall), ElementsAre(5));
  EXPECT_TRUE(warm_ups.done(5));
  EXPECT_EQ(warm_ups.deadline(), 105 + stall);
  warm_ups.heard(6, 1, true, 106);  // it waits for the group
  EXPECT_THAT(warm_ups.expire(105 + stall), IsEmpty());
  EXPECT_THAT(warm_ups.expire(106 + stall), ElementsAre(6));
  EXPECT_THAT(warm_ups.expire(1000), IsEmpty());
  EXPECT_FALSE(warm_ups.deadline());
}

TEST(WarmUps, NobodyIsWaitedForForEver) {
  const Timeouts timeouts;
  WarmUps warm_ups(timeouts, 1);
  (void)warm_ups.begin({5}, 0);
  std::uint64_t count = 0;
  double now = 0;
  for (; now < timeouts.warm_up_s(); now += 0.5) {
    warm_ups.heard(5, ++count, true, now);
    ASSERT_THAT(warm_ups.expire(now), IsEmpty());
  }
  EXPECT_THAT(warm_ups.expire(now), ElementsAre(5));
}

}  // namespace
}  // namespace seng
