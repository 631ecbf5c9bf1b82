// What an exchange makes of a link whose other end is not there (played_link.h).
#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/actors/exchange/exchange_world.h"
#include "tests/actors/exchange/played_link.h"

namespace seng {
namespace {

using ::testing::HasSubstr;
using testing::LinkPlay;
using testing::Random;
using testing::World;

class LinkFailure : public ::testing::Test {
 protected:
  LinkFailure() {
    world_.linger_ms = 0;
    world_.nccl = testing::played_link();
    exchange_ = world_.open(0);
  }
  static bool comes_true(const std::function<bool()>& condition) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!condition()) {
      if (std::chrono::steady_clock::now() > end) return false;
      std::this_thread::yield();
    }
    return true;
  }

  Random random_;
  World world_{random_, 2, 4, 500, 512};
  std::unique_ptr<ZmqExchange> exchange_;
};

// It may fail just when join() has seen that it is open: many tries.
TEST_F(LinkFailure, OneRightAfterJoiningIsNotForgotten) {
  testing::link_play = LinkPlay::kFailsWhenOpen;
  for (std::uint64_t i = 1; i <= 100; ++i) {
    const int before = testing::link_failures;
    const Status joined = exchange_->join(world_.group(0, {1, i}));
    if (!joined) {
      EXPECT_THAT(joined.error().message, HasSubstr(testing::kPlayedFailure));
    }
    ASSERT_TRUE(comes_true([&] { return testing::link_failures > before; }));
    ASSERT_TRUE(comes_true([&] { return exchange_->interrupted(); })) << i;
    const auto event = exchange_->next();
    ASSERT_TRUE(std::holds_alternative<Interrupted>(event));
    EXPECT_EQ(std::get<Interrupted>(event).reason, testing::kPlayedFailure);
  }
}

TEST_F(LinkFailure, OneBeforeItOpensIsSaidInWords) {
  testing::link_play = LinkPlay::kFailsToOpen;
  for (std::uint64_t i = 1; i <= 3; ++i) {
    const Status joined = exchange_->join(world_.group(0, {1, i}));
    ASSERT_FALSE(joined);
    EXPECT_EQ(joined.error().code, ErrorCode::kUnavailable);
    EXPECT_THAT(joined.error().message, HasSubstr(testing::kPlayedFailure));
  }
}

// The word to leave comes before the link knows of the membership: it would wait for one who is dead.
TEST_F(LinkFailure, AnInterruptionFromBeforeItJoinsIsNotLost) {
  testing::link_play = LinkPlay::kNobodyComes;
  exchange_->interrupt("another membership is announced");
  ASSERT_TRUE(exchange_->join(world_.group(0), [] { return true; }));
  EXPECT_TRUE(std::holds_alternative<Interrupted>(exchange_->next()));
}

// It comes at any time, as the driver gets it: first it is announced, then the exchange is interrupted.
TEST_F(LinkFailure, AnInterruptionAtAnyTimeEndsTheWait) {
  testing::link_play = LinkPlay::kNobodyComes;
  for (std::uint64_t i = 1; i <= 200; ++i) {
    std::atomic<bool> announced{false};
    std::thread session([&] {
      const auto end = std::chrono::steady_clock::now() + std::chrono::microseconds(i % 50);
      while (std::chrono::steady_clock::now() < end) std::this_thread::yield();
      announced = true;
      exchange_->interrupt("another membership is announced");
    });
    EXPECT_TRUE(exchange_->join(world_.group(0, {1, i}), [&] { return announced.load(); }));
    session.join();
    EXPECT_TRUE(exchange_->interrupted()) << i;
  }
}

}  // namespace
}  // namespace seng
