#include "actors/nn/buffer_plan.h"

#include <random>

#include <gtest/gtest.h>

namespace seng {
namespace {

TEST(BufferPlan, SharesMemoryOfBuffersThatAreNeverAliveTogether) {
  BufferPlan plan;
  const int a = plan.add(1000, 0), b = plan.add(1000, 1), c = plan.add(1000, 2);
  plan.use(a, 1);
  plan.use(b, 2);
  EXPECT_EQ(plan.place(), 2048u);
  EXPECT_EQ(plan.offset(a), plan.offset(c));
  EXPECT_NE(plan.offset(a), plan.offset(b));
}

TEST(BufferPlan, RandomBuffersNeverOverlapWhileAlive) {
  std::mt19937 random(std::random_device{}());
  const auto below = [&](int bound) { return static_cast<int>(random() % bound); };
  for (int round = 0; round < 50; ++round) {
    struct Life {
      std::size_t bytes;
      int first, last;
    };
    BufferPlan plan;
    std::vector<Life> lives;
    std::size_t sum = 0;
    for (int i = 0; i < 40; ++i) {
      Life life{std::size_t(1 + below(5000)), below(50), 0};
      life.last = life.first + below(20);
      plan.add(life.bytes, life.first);
      plan.use(i, life.last);
      sum += life.bytes + 64;
      lives.push_back(life);
    }
    const std::size_t arena = plan.place();
    EXPECT_LT(arena, sum);
    for (int i = 0; i < 40; ++i) {
      EXPECT_EQ(plan.offset(i) % 64, 0u);
      EXPECT_LE(plan.offset(i) + lives[i].bytes, arena);
      for (int k = 0; k < i; ++k) {
        if (lives[i].first > lives[k].last || lives[k].first > lives[i].last) continue;
        EXPECT_TRUE(plan.offset(i) + lives[i].bytes <= plan.offset(k) ||
                    plan.offset(k) + lives[k].bytes <= plan.offset(i));
      }
    }
  }
}

}  // namespace
}  // namespace seng
