#include "actors/optim/loss_scale.h"

#include <gtest/gtest.h>

namespace seng {
namespace {

TEST(LossScale, HalvesAtAnOverflowAndDoublesAfterGoodSteps) {
  LossScale scale{256, 7};
  EXPECT_TRUE(may_leave_out(scale));
  scale = after_overflow(scale);
  EXPECT_EQ(scale, (LossScale{128, 0}));
  for (std::uint64_t step = 1; step < kLossScaleGrowth; ++step) scale = after_good_step(scale);
  EXPECT_EQ(scale, (LossScale{128, kLossScaleGrowth - 1}));
  EXPECT_EQ(after_good_step(scale), (LossScale{256, 0}));
  EXPECT_EQ(after_overflow(scale), (LossScale{64, 0})) << "it begins to count anew";
}

TEST(LossScale, StaysInItsBounds) {
  EXPECT_FALSE(may_leave_out({1, 0})) << "a smaller scale would change nothing: it diverges";
  EXPECT_EQ(after_overflow({1, 5}), (LossScale{1, 0}));
  EXPECT_EQ(after_good_step({kMostLossScale, kLossScaleGrowth - 1}), (LossScale{kMostLossScale, 0}));
}

TEST(LossScale, WhereThereIsNoneNothingIsLeftOut) {
  EXPECT_FALSE(may_leave_out({}));
  EXPECT_EQ(after_good_step({}), LossScale{});
}

}  // namespace
}  // namespace seng
