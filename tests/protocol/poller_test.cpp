#include "protocol/channel/poller.h"

#include <chrono>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/time.h>
#include <unistd.h>

#include "protocol/base/unique_fd.h"
#include "protocol/channel/zmq_channel.h"
#include "protocol/messages/all.h"
#include "tests/protocol/temp_dir.h"

namespace seng::poller_test {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr int kPatienceMs = 20'000;

TEST(Poller, ReportsReadableDescriptorsUntilTheyAreRead) {
  const UniqueFd first(eventfd(0, EFD_CLOEXEC)), second(eventfd(0, EFD_CLOEXEC));
  Poller poller;
  poller.watch_fd(first.get(), 10);
  poller.watch_fd(second.get(), 20);
  EXPECT_THAT(*poller.wait(0), IsEmpty());
  ASSERT_EQ(eventfd_write(second.get(), 1), 0);
  EXPECT_THAT(*poller.wait(kPatienceMs), ElementsAre(20));
  ASSERT_EQ(eventfd_write(first.get(), 1), 0);
  EXPECT_THAT(*poller.wait(kPatienceMs), ElementsAre(10, 20));
  eventfd_t value = 0;
  ASSERT_EQ(eventfd_read(second.get(), &value), 0);
  EXPECT_THAT(*poller.wait(kPatienceMs), ElementsAre(10));
  poller.forget(10);
  poller.forget(99);
  EXPECT_THAT(*poller.wait(0), IsEmpty());
  poller.watch_fd(first.get(), 10);
  EXPECT_THAT(*poller.wait(kPatienceMs), ElementsAre(10));
  EXPECT_THROW(poller.watch_fd(second.get(), 10), InvariantError);
}

TEST(Poller, ReportsAPipeClosedAtItsOtherEnd) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const UniqueFd reader(ends[0]);
  Poller poller;
  poller.watch_fd(reader.get(), 1);
  EXPECT_THAT(*poller.wait(0), IsEmpty());
  close(ends[1]);
  EXPECT_THAT(*poller.wait(kPatienceMs), ElementsAre(1));
}

TEST(Poller, WaitsAsLongAsAsked) {
  Poller poller;
  const UniqueFd silent(eventfd(0, EFD_CLOEXEC));
  poller.watch_fd(silent.get(), 1);
  const auto start = std::chrono::steady_clock::now();
  EXPECT_THAT(*poller.wait(30), IsEmpty());
  EXPECT_GE(std::chrono::steady_clock::now() - start, std::chrono::milliseconds(29));
}

TEST(Poller, WakesFromAnotherThread) {
  const UniqueFd event(eventfd(0, EFD_CLOEXEC));
  Poller poller;
  poller.watch_fd(event.get(), 1);
  std::thread other([&] { eventfd_write(event.get(), 1); });
  EXPECT_THAT(*poller.wait(kPatienceMs), ElementsAre(1));
  other.join();
}

// Channels' descriptors are edge-triggered inside ZeroMQ: a message left unread must be reported all the
// same.
TEST(Poller, ReportsAChannelAsLongAsMessagesAreLeft) {
  const TempDir dir;
  ChannelContext context;
  const auto server = bind_server(context, "ipc://" + dir.file("s"));
  const auto client = connect_client(context, "ipc://" + dir.file("s"));
  ASSERT_TRUE(server && client);
  const UniqueFd event(eventfd(1, EFD_CLOEXEC));
  Poller poller;
  poller.watch(**server, 1);
  poller.watch_fd(event.get(), 2);
  EXPECT_THAT(*poller.wait(kPatienceMs), ElementsAre(2));
  poller.forget(2);
  constexpr int kMessages = 5;
  for (int i = 0; i < kMessages; ++i) ASSERT_TRUE((*client)->send(make_message({}, Ready{})));
  for (int received = 0; received < kMessages;) {
    ASSERT_THAT(*poller.wait(kPatienceMs), ElementsAre(1));
    if ((*server)->try_receive()) ++received;
  }
  EXPECT_THAT(*poller.wait(0), IsEmpty());
}

TEST(Poller, ReturnsWhenASignalComes) {
  struct sigaction action {
  }, before{};
  action.sa_handler = [](int) {};
  ASSERT_EQ(sigaction(SIGALRM, &action, &before), 0);
  const UniqueFd silent(eventfd(0, EFD_CLOEXEC));
  Poller poller;
  poller.watch_fd(silent.get(), 1);
  // Repeated, so that one which comes before the wait does no harm.
  const itimerval timer{{0, 10'000}, {0, 10'000}}, none{};
  ASSERT_EQ(setitimer(ITIMER_REAL, &timer, nullptr), 0);
  const auto ready = poller.wait(-1);
  ASSERT_EQ(setitimer(ITIMER_REAL, &none, nullptr), 0);
  ASSERT_EQ(sigaction(SIGALRM, &before, nullptr), 0);
  ASSERT_TRUE(ready) << ready.error().message;
  EXPECT_THAT(*ready, IsEmpty());
}

TEST(Poller, AClosedDescriptorIsNotSilent) {
  Poller poller;
  UniqueFd event(eventfd(0, EFD_CLOEXEC));
  poller.watch_fd(event.get(), 1);
  event.reset();
  const auto ready = poller.wait(kPatienceMs);
  EXPECT_TRUE(!ready || !ready->empty());
}

}  // namespace
}  // namespace seng::poller_test
