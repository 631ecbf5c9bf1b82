#include "daemon/event_loop.h"

#include <gtest/gtest.h>
#include <sys/eventfd.h>

#include "protocol/base/unique_fd.h"
#include "tests/daemon/fake_world.h"

namespace seng::testing {
namespace {

TEST(EventLoop, RunsTimersInOrderAndOnce) {
  FakeClock clock;
  EventLoop loop(clock);
  std::string order;
  loop.at(clock.now() + 2, [&] { order += 'b'; });
  loop.at(clock.now() + 1, [&] { order += 'a'; });
  const auto cancelled = loop.at(clock.now() + 1, [&] { order += 'x'; });
  loop.cancel(cancelled);
  loop.cancel(cancelled);
  ASSERT_TRUE(loop.turn(0));
  EXPECT_EQ(order, "");
  clock.advance(5);
  ASSERT_TRUE(loop.turn(0));
  EXPECT_EQ(order, "ab");
  ASSERT_TRUE(loop.turn(0));
  EXPECT_EQ(order, "ab");
}

TEST(EventLoop, ATimerThatRenewsItselfDoesNotHoldTheLoop) {
  FakeClock clock;
  EventLoop loop(clock);
  int count = 0;
  std::function<void()> again = [&] {
    ++count;
    loop.at(clock.now(), again);
  };
  loop.at(clock.now(), again);
  ASSERT_TRUE(loop.turn(0));
  EXPECT_EQ(count, 1);
  ASSERT_TRUE(loop.turn(0));
  EXPECT_EQ(count, 2);
}

TEST(EventLoop, CallbacksMayForgetEachOther) {
  FakeClock clock;
  EventLoop loop(clock);
  const UniqueFd a(eventfd(1, EFD_NONBLOCK)), b(eventfd(1, EFD_NONBLOCK));
  int calls = 0;
  EventLoop::WatchId first = 0, second = 0;
  const auto forget_both = [&] {
    ++calls;
    loop.forget(first);
    loop.forget(second);
  };
  first = loop.watch_fd(a.get(), forget_both);
  second = loop.watch_fd(b.get(), forget_both);
  int rounds = 0;
  loop.before_sleep([&] { ++rounds; });
  ASSERT_TRUE(loop.turn(0));
  ASSERT_TRUE(loop.turn(0));
  EXPECT_EQ(calls, 1);
  EXPECT_EQ(rounds, 2);
}

TEST(EventLoop, SleepsUntilTheTimerAndNotLonger) {
  const SystemClock clock;
  EventLoop loop(clock);
  const double start = clock.now();
  int rounds = 0;
  loop.before_sleep([&] { ++rounds; });
  loop.at(start + 0.05, [&] { loop.stop(); });
  ASSERT_TRUE(loop.run());
  EXPECT_GE(clock.now() - start, 0.05);
  EXPECT_LE(rounds, 3) << "it polled";
}

}  // namespace
}  // namespace seng::testing
