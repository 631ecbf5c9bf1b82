#include "daemon/liveness.h"

#include <gtest/gtest.h>

namespace seng {
namespace {

TEST(Liveness, ReportsEachSilenceOnceAndTheReturn) {
  Liveness liveness(Timeouts{});
  EXPECT_FALSE(liveness.deadline());
  liveness.add({1, 0}, 10);
  liveness.add({1, 1}, 10.5);
  EXPECT_EQ(liveness.deadline(), 11.0);
  EXPECT_FALSE(liveness.heard({1, 0}, 10.9));
  EXPECT_EQ(liveness.deadline(), 11.5);
  EXPECT_TRUE(liveness.check(11.4).empty());
  const auto found = liveness.check(11.5);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].who, (Liveness::Key{1, 1}));
  EXPECT_EQ(found[0].verdict, Liveness::Verdict::kSilent);
  EXPECT_TRUE(liveness.check(11.6).empty());
  EXPECT_EQ(liveness.deadline(), 11.9) << "the silent one needs no timer";
  const auto back = liveness.heard({1, 1}, 13.5);
  ASSERT_TRUE(back);
  EXPECT_EQ(back->verdict, Liveness::Verdict::kHeard);
  EXPECT_DOUBLE_EQ(back->silent_s, 3.0);
  EXPECT_FALSE(liveness.heard({1, 1}, 13.6));
}

TEST(Liveness, KnowsNobodyWhoWasRemovedOrNeverCame) {
  Liveness liveness(Timeouts{});
  EXPECT_FALSE(liveness.heard({1, 0}, 1));
  liveness.add({1, 0}, 1);
  liveness.remove({1, 0});
  EXPECT_TRUE(liveness.check(99).empty());
  EXPECT_FALSE(liveness.deadline());
}

}  // namespace
}  // namespace seng
