#include "daemon/last_checkpoint.h"

#include <gtest/gtest.h>

namespace seng {
namespace {

TEST(LastCheckpoint, IsWantedAgainAfterGrowingPauses) {
  LastCheckpoint last{Timeouts{}};
  EXPECT_FALSE(last.deadline());
  double now = 10;
  for (const double pause : {5, 10, 20, 40, 60, 60}) {
    EXPECT_EQ(last.failed(7, "no space", now), pause);
    EXPECT_EQ(last.deadline(), now + pause);
    last.on_time(now + pause - 0.1);
    EXPECT_FALSE(last.wanted());
    now += pause;
    last.on_time(now);
    EXPECT_TRUE(last.wanted());
    EXPECT_FALSE(last.deadline()) << "wanted until it is tried, without a timer that spins";
    last.tried();
    EXPECT_FALSE(last.wanted());
  }
  EXPECT_EQ(last.why(), "no space");
  last.written();
  EXPECT_EQ(last.why(), "");
  EXPECT_EQ(last.failed(8, "no space", now), 5);
}

TEST(LastCheckpoint, NotWhereTheGroupWentOn) {
  LastCheckpoint last{Timeouts{}};
  last.failed(7, "no space", 10);
  last.committed(7);
  EXPECT_TRUE(last.deadline());
  last.committed(8);
  EXPECT_FALSE(last.deadline());
}

TEST(LastCheckpoint, HurriesForAStop) {
  LastCheckpoint last{Timeouts{}};
  last.hurry(10);
  EXPECT_FALSE(last.deadline());
  last.failed(7, "no space", 10);
  last.hurry(11);
  EXPECT_EQ(last.deadline(), 11);
}

}  // namespace
}  // namespace seng
