#include "cli/client.h"

#include <csignal>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/interrupt.h"
#include "tests/cli/fake_daemon.h"

namespace seng {
namespace {

using testing::FakeDaemon;
using ::testing::HasSubstr;

JobRecord job_named(const std::string& name) {
  JobRecord job;
  job.name = name;
  return job;
}

TEST(Client, AsksAndIsAnswered) {
  FakeDaemon daemon;
  daemon.on<DescribeRequest, DescribeReply>([](const DescribeRequest& request) -> Result<DescribeReply> {
    DescribeReply reply;
    reply.job = job_named(request.job + "!");
    return reply;
  });
  Client client(daemon.endpoint(), daemon.dir());
  for (const char* name : {"a", "b", "c"}) {
    const auto reply = client.ask<DescribeReply>(DescribeRequest{name});
    ASSERT_TRUE(reply) << reply.error().message;
    EXPECT_EQ(reply->job.name, std::string(name) + "!");
  }
}

TEST(Client, ARefusalKeepsItsCodeAndWords) {
  FakeDaemon daemon;
  daemon.on<StopRequest, StopReply>([](const StopRequest&) -> Result<StopReply> {
    return fail(ErrorCode::kNotFound, "there is no job 9");
  });
  Client client(daemon.endpoint(), daemon.dir());
  const auto reply = client.ask<StopReply>(StopRequest{"9"});
  ASSERT_FALSE(reply);
  EXPECT_EQ(reply.error().kind, Failure::Kind::kRefused);
  EXPECT_EQ(reply.error().message, "there is no job 9");
  EXPECT_EQ(exit_code_of(reply.error()), ExitCode::kNoSuchJob);
}

TEST(Client, ADaemonOfAnotherUserIsNoReasonToStartOneInItsDirectory) {
  if (geteuid() == 0) GTEST_SKIP() << "root may enter every directory";
  const testing::TempDir dir;
  ASSERT_EQ(chmod(dir.path().c_str(), 0), 0);
  Client client("ipc://" + dir.path() + "/sengd.sock", dir.path());
  const auto reply = client.ask<ListReply>(ListRequest{});
  ASSERT_EQ(chmod(dir.path().c_str(), 0700), 0);
  ASSERT_FALSE(reply);
  EXPECT_EQ(exit_code_of(reply.error()), ExitCode::kNoDaemon);
  EXPECT_THAT(reply.error().message, HasSubstr("belongs to another user"));
}

TEST(Client, NoDaemonIsKnownAtOnceAndSaysHowToStartOne) {
  const testing::TempDir dir;
  Client client("ipc://" + dir.path() + "/sengd.sock", dir.path());
  const auto reply = client.ask<ListReply>(ListRequest{}, 600'000);
  ASSERT_FALSE(reply);
  EXPECT_EQ(reply.error().kind, Failure::Kind::kNoDaemon);
  EXPECT_THAT(reply.error().message, HasSubstr("sengd --state-dir " + dir.path()));
  EXPECT_EQ(exit_code_of(reply.error()), ExitCode::kNoDaemon);
}

TEST(Client, ASilentDaemonIsNotWaitedForForEver) {
  FakeDaemon daemon;
  daemon.ignore(MessageKind::kListRequest);
  Client client(daemon.endpoint(), daemon.dir());
  const auto reply = client.ask<ListReply>(ListRequest{}, 100);
  ASSERT_FALSE(reply);
  EXPECT_EQ(reply.error().kind, Failure::Kind::kSilent);
  EXPECT_THAT(reply.error().message, HasSubstr("logs/sengd.log"));
  EXPECT_EQ(exit_code_of(reply.error()), ExitCode::kNoDaemon);
}

TEST(Client, ALateReplyIsNotTakenForTheNext) {
  FakeDaemon daemon;
  int asked = 0;
  // The first question's answer comes, with its number, only when the second is asked.
  Envelope first;
  daemon.on_raw(MessageKind::kDescribeRequest, [&](const Message& message) -> std::optional<Message> {
    if (asked++ == 0) {
      first = message.envelope;
      return std::nullopt;
    }
    DescribeReply late;
    late.job = job_named("late");
    return make_message(first, late);
  });
  Client client(daemon.endpoint(), daemon.dir());
  EXPECT_FALSE(client.ask<DescribeReply>(DescribeRequest{"x"}, 50));
  const auto second = client.ask<DescribeReply>(DescribeRequest{"y"}, 200);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().kind, Failure::Kind::kSilent);
}

TEST(Client, AnAnswerOfAnotherKindOrWithBadBytesIsAnError) {
  FakeDaemon daemon;
  daemon.on_raw(MessageKind::kListRequest, [](const Message&) { return make_message({}, NodesReply{}); });
  daemon.on_raw(MessageKind::kNodesRequest, [](const Message&) {
    Message message = make_message({}, NodesReply{});
    message.body = Frame::from_string("\xc1garbage");
    return message;
  });
  Client client(daemon.endpoint(), daemon.dir());
  const auto other = client.ask<ListReply>(ListRequest{});
  ASSERT_FALSE(other);
  EXPECT_EQ(other.error().code, ErrorCode::kCorrupt);
  EXPECT_EQ(exit_code_of(other.error()), ExitCode::kFailed);
  EXPECT_THAT(other.error().message, HasSubstr("sengctl version"));
  const auto bad = client.ask<NodesReply>(NodesRequest{});
  ASSERT_FALSE(bad);
  EXPECT_EQ(bad.error().code, ErrorCode::kCorrupt);
}

TEST(Client, ADaemonThatDiesDuringALongWaitIsNoticed) {
  auto daemon = std::make_unique<FakeDaemon>();
  daemon->ignore(MessageKind::kWatchRequest);
  daemon->on<ListRequest, ListReply>([](const ListRequest&) -> Result<ListReply> { return ListReply{}; });
  Client client(daemon->endpoint(), daemon->dir());
  ASSERT_TRUE(client.ask<ListReply>(ListRequest{}));
  std::thread killer([&] {
    while (daemon->count(MessageKind::kWatchRequest) == 0) std::this_thread::yield();
    daemon->stop();
  });
  const auto reply = client.ask<WatchReply>(WatchRequest{}, 600'000);
  killer.join();
  ASSERT_FALSE(reply);
  EXPECT_EQ(reply.error().kind, Failure::Kind::kNoDaemon);
  // And its successor is found.
  daemon->start();
  EXPECT_TRUE(client.ask<ListReply>(ListRequest{}));
}

TEST(Client, CtrlCEndsAWait) {
  FakeDaemon daemon;
  daemon.ignore(MessageKind::kWatchRequest);
  Client client(daemon.endpoint(), daemon.dir());
  {
    const Interrupt interrupt;
    client.set_interrupt(&interrupt);
    std::thread presser([&] {
      while (daemon.count(MessageKind::kWatchRequest) == 0) std::this_thread::yield();
      kill(getpid(), SIGINT);
    });
    const auto reply = client.ask<WatchReply>(WatchRequest{}, 600'000);
    presser.join();
    ASSERT_FALSE(reply);
    EXPECT_EQ(reply.error().kind, Failure::Kind::kInterrupted);
    EXPECT_EQ(exit_code_of(reply.error()), ExitCode::kInterrupted);
    client.set_interrupt(nullptr);
  }
  struct sigaction now;
  sigaction(SIGINT, nullptr, &now);
  EXPECT_EQ(now.sa_handler, SIG_DFL) << "the handler stays only as long as the Interrupt";
}

TEST(Client, RefusesAnAddressThatIsNone) {
  Client client("http://x", "");
  const auto reply = client.ask<ListReply>(ListRequest{});
  ASSERT_FALSE(reply);
  EXPECT_EQ(exit_code_of(reply.error()), ExitCode::kUsage);
}

}  // namespace
}  // namespace seng
