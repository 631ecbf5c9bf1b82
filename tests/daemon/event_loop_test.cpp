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

TEST(EventLoop, ASourceThatIsHeldIsLeftAloneUntilItsTimeOrUntilSomethingElseComes) {
  FakeClock clock;
  EventLoop loop(clock);
  const UniqueFd chatty(eventfd(1, EFD_NONBLOCK)), other(eventfd(0, EFD_NONBLOCK));
  std::string order;
  EventLoop::WatchId held = 0;
  held = loop.watch_fd(chatty.get(), [&] {
    order += 'c';
    loop.hold(held, clock.now() + 1);
  });
  loop.watch_fd(other.get(), [&] {
    order += 'o';
    eventfd_t ignored;
    eventfd_read(other.get(), &ignored);
  });
  ASSERT_TRUE(loop.turn(0));
  ASSERT_TRUE(loop.turn(0));
  EXPECT_EQ(order, "c") << "there is more to read, and it waits";
  clock.advance(1);
  ASSERT_TRUE(loop.turn(0));
  ASSERT_TRUE(loop.turn(0));
  EXPECT_EQ(order, "cc");
  eventfd_write(other.get(), 1);
  ASSERT_TRUE(loop.turn(0));
  EXPECT_EQ(order, "ccco") << "what it has said counts before what came later";
  loop.at(clock.now(), [&] { order += 't'; });
  ASSERT_TRUE(loop.turn(0));
  EXPECT_EQ(order, "cccoct") << "and before what is judged by the time";
  loop.release(held);
  ASSERT_TRUE(loop.turn(0));
  EXPECT_EQ(order, "cccoctc");
  order.resize(6);
  loop.forget(held);
  clock.advance(5);
  ASSERT_TRUE(loop.turn(0));
  EXPECT_EQ(order, "cccoct");
}

// Words before exits: the order stays that in which they were first watched.
TEST(EventLoop, ASourceThatWasHeldKeepsItsPlace) {
  FakeClock clock;
  EventLoop loop(clock);
  const UniqueFd first(eventfd(0, EFD_NONBLOCK)), second(eventfd(0, EFD_NONBLOCK));
  std::string order;
  const auto reader = [&](const UniqueFd& fd, char name) {
    return [&order, &fd, name] {
      eventfd_t ignored;
      if (eventfd_read(fd.get(), &ignored) == 0) order += name;
    };
  };
  const EventLoop::WatchId watched = loop.watch_fd(first.get(), reader(first, '1'));
  loop.watch_fd(second.get(), reader(second, '2'));
  loop.hold(watched, clock.now() + 1);
  loop.release(watched);
  eventfd_write(second.get(), 1);
  eventfd_write(first.get(), 1);
  ASSERT_TRUE(loop.turn(0));
  EXPECT_EQ(order, "12");
}

// Who is held and has nothing more to say costs nothing from then on.
TEST(EventLoop, AHeldSourceDoesNotTick) {
  const SystemClock clock;
  EventLoop loop(clock);
  const UniqueFd source(eventfd(1, EFD_NONBLOCK));
  int calls = 0, rounds = 0;
  EventLoop::WatchId held = 0;
  held = loop.watch_fd(source.get(), [&] {
    ++calls;
    eventfd_t ignored;
    if (eventfd_read(source.get(), &ignored) == 0) loop.hold(held, clock.now() + 0.005);
  });
  loop.before_sleep([&] { ++rounds; });
  loop.at(clock.now() + 0.1, [&] { loop.stop(); });
  ASSERT_TRUE(loop.run());
  EXPECT_EQ(calls, 2) << "what came, and once more when the time was over";
  EXPECT_LE(rounds, 5);
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
