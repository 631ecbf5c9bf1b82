// The real sengd in a process of its own, with fake actors, spoken to over its real sockets.
#include <csignal>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>
#include <thread>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <zmq.h>

#include "daemon/process_runner.h"
#include "protocol/base/clock.h"
#include "protocol/base/file.h"
#include "protocol/channel/poller.h"
#include "protocol/channel/zmq_channel.h"
#include "protocol/messages/control.h"
#include "tests/daemon/fake_world.h"
#include "tests/support/process.h"

namespace seng::testing {
namespace {

using ::testing::HasSubstr;

std::string binary(const std::string& name) {
  return std::string(SENG_BIN_DIR) + "/" + name;
}

// A process that vanishes while its command line is read is a failure of the stream.
std::vector<pid_t> left_of(const std::string& text) {
  for (;;) {
    try {
      return processes_with(text);
    } catch (const std::ios_base::failure&) {
    }
  }
}

// sengctl's side: one request, one reply.
class Client {
 public:
  explicit Client(const std::string& state_dir) {
    channel_ = *connect_client(context_, "ipc://" + state_dir + "/sengd.sock");
    poller_.watch(*channel_, 1);
  }

  template <class Reply, class Request>
  Result<Reply> ask(const Request& request, int timeout_ms = 20000) {
    (void)channel_->send(make_message({}, request));
    const auto message = receive(timeout_ms);
    if (!message) return fail(ErrorCode::kTimeout, "no reply");
    if (message->envelope.kind == static_cast<std::uint16_t>(MessageKind::kError)) {
      const auto error = parse_body<ErrorReply>(*message);
      return fail(error->code, error->message);
    }
    return parse_body<Reply>(*message);
  }
  void send(Message message) { (void)channel_->send(std::move(message)); }
  std::optional<Message> receive(int timeout_ms) {
    const SystemClock clock;
    const double end = clock.now() + timeout_ms / 1000.0;
    for (;;) {
      if (auto message = channel_->try_receive()) return message;
      const double left = end - clock.now();
      if (left <= 0) return std::nullopt;
      (void)poller_.wait(static_cast<int>(left * 1000) + 1);
    }
  }

 private:
  ChannelContext context_;
  std::unique_ptr<ClientChannel> channel_;
  Poller poller_;
};

class DaemonTest : public ::testing::Test {
 protected:
  void TearDown() override {
    stop();
    for (const pid_t pid : left_of(dir_.path())) {
      if (wait_until_gone(pid, 10)) continue;  // it was ending: who has told its failure is not gone yet
      ADD_FAILURE() << "process " << pid << " is left";
      kill(pid, SIGKILL);
    }
  }
  RunResult start(std::vector<std::string> more = {}, std::map<std::string, std::string> environment = {}) {
    std::vector<std::string> command = {
        binary("sengd"), "--state-dir",    state_dir(),          "--slots",     "2",    "--lease",
        lease_,          "--actor-binary", binary("fake_actor"), "--log-level", "debug"};
    command.insert(command.begin(), starter_.begin(), starter_.end());
    command.insert(command.end(), more.begin(), more.end());
    const RunResult result = run(
        command,
        {.input = "", .environment = std::move(environment), .timeout_seconds = 60, .working_directory = ""});
    if (result.exit_code == 0) {
      client_ = std::make_unique<Client>(state_dir());
      const auto version = client_->ask<VersionReply>(VersionRequest{});
      if (version) pid_ = static_cast<pid_t>(version->pid);
    }
    return result;
  }
  void must_start(const std::string& lease = "0.4") {
    lease_ = lease;
    const RunResult result = start();
    ASSERT_EQ(result.exit_code, 0) << result.err;
    ASSERT_GT(pid_, 0);
  }
  // True if it ended within the time.
  bool stop(int number = SIGTERM, int timeout_seconds = 40) {
    client_.reset();
    if (pid_ <= 0) return true;
    kill(pid_, number);
    const bool gone = wait_until_gone(pid_, timeout_seconds);
    EXPECT_TRUE(gone) << "sengd does not stop";
    if (!gone) kill(pid_, SIGKILL);
    pid_ = 0;
    return gone;
  }
  JobId submit(const std::string& name, int min = 1, int max = 1) {
    auto reply = client_->ask<SubmitReply>(SubmitRequest{spec_text(name, min, max), name + ".yaml"});
    EXPECT_TRUE(reply) << reply.error().message;
    return reply ? reply->job.id : 0;
  }
  // Watches the job until it is in that state, or terminal.
  JobRecord wait_for(JobId job, JobState state) {
    JobRecord record;
    for (int i = 0; i < 200; ++i) {
      const auto reply = client_->ask<WatchReply>(WatchRequest{std::to_string(job), record.revision, 5000});
      if (!reply) {
        ADD_FAILURE() << reply.error().message;
        return record;
      }
      record = reply->job;
      if (record.state == state || is_terminal(record.state)) break;
    }
    EXPECT_EQ(record.state, state) << job_state_name(record.state) << ": " << record.reason;
    return record;
  }
  template <class Condition>
  JobRecord wait_until(JobId job, Condition condition) {
    JobRecord record;
    const SystemClock clock;
    for (const double end = clock.now() + 20; clock.now() < end;) {
      const auto reply = client_->ask<WatchReply>(WatchRequest{std::to_string(job), record.revision, 5000});
      if (!reply) break;
      record = reply->job;
      if (condition(record)) return record;
      if (is_terminal(record.state)) break;
    }
    ADD_FAILURE() << "it did not come: " << job_state_name(record.state) << ": " << record.reason
                  << ", epoch " << to_string(record.epoch) << ", step " << record.step;
    return record;
  }
  std::string state_dir() const { return dir_.path() + "/state"; }
  std::string log() const { return read_file(state_dir() + "/logs/sengd.log", 10 << 20).value_or(""); }
  pid_t actor_pid(JobId job) {
    const auto described = client_->ask<DescribeReply>(DescribeRequest{std::to_string(job)});
    return described && !described->actors.empty() ? static_cast<pid_t>(described->actors[0].pid) : 0;
  }

  TempDir dir_;
  std::vector<std::string> starter_;  // a command that runs the rest of its line
  std::string lease_ = "0.4";         // seconds
  pid_t pid_ = 0;
  std::unique_ptr<Client> client_;
};

TEST_F(DaemonTest, RunsAJobAndAnswersEverything) {
  must_start();
  const JobId job = submit("finish", 2, 2);
  const JobRecord record = wait_for(job, JobState::kSucceeded);
  EXPECT_EQ(record.step, 3u);
  EXPECT_EQ(record.actors, 2u);
  EXPECT_EQ(record.train_loss, 0.5);
  EXPECT_EQ(record.test_accuracy, 0.75);
  EXPECT_EQ(record.weights_sha256, "weights");
  EXPECT_EQ(record.checkpoint, "/fake/checkpoint");
  EXPECT_GT(record.images_per_second, 0);
  EXPECT_GE(record.ended_at, record.started_at);

  EXPECT_EQ(client_->ask<ListReply>(ListRequest{})->jobs.size(), 1u);
  const auto metrics = client_->ask<MetricsReply>(MetricsRequest{"finish", 1, 1});
  ASSERT_TRUE(metrics) << metrics.error().message;
  ASSERT_EQ(metrics->steps.size(), 1u);
  EXPECT_EQ(metrics->steps[0].step, 2u);
  EXPECT_TRUE(metrics->more);
  EXPECT_EQ(metrics->epochs.size(), 1u);
  const auto events = client_->ask<EventsReply>(EventsRequest{"1", 0, 100});
  ASSERT_TRUE(events);
  ASSERT_GE(events->events.size(), 9u);
  EXPECT_EQ(events->events[0].kind, "Submitted");
  // What follows the first; the actors' exits may have been added meanwhile.
  const auto later = client_->ask<EventsReply>(EventsRequest{"1", events->events[0].id, 100});
  ASSERT_TRUE(later);
  ASSERT_GE(later->events.size(), events->events.size() - 1);
  EXPECT_EQ(later->events[0].id, events->events[1].id);
  const auto logs = client_->ask<LogsReply>(LogsRequest{"1", 1, 0, 1000});
  ASSERT_TRUE(logs) << logs.error().message;
  EXPECT_THAT(logs->data, HasSubstr("fake actor 1 of job 1: finish"));
  EXPECT_EQ(logs->size, logs->data.size());
  EXPECT_EQ(logs->actors, (std::vector<ActorId>{0, 1}));
  EXPECT_EQ(client_->ask<LogsReply>(LogsRequest{"1", 9, 0, 10}).error().code, ErrorCode::kNotFound);
  const auto nodes = client_->ask<NodesReply>(NodesRequest{});
  ASSERT_EQ(nodes->nodes.size(), 1u);
  EXPECT_EQ(nodes->nodes[0].slots.size(), 2u);
  EXPECT_EQ(client_->ask<StopReply>(StopRequest{"1"})->job.state, JobState::kSucceeded);
  for (const char* unknown : {"2", "nobody"}) {
    EXPECT_EQ(client_->ask<StopReply>(StopRequest{unknown}).error().code, ErrorCode::kNotFound);
    EXPECT_EQ(client_->ask<DescribeReply>(DescribeRequest{unknown}).error().code, ErrorCode::kNotFound);
    EXPECT_EQ(client_->ask<WatchReply>(WatchRequest{unknown, 0, 10}).error().code, ErrorCode::kNotFound);
    EXPECT_EQ(client_->ask<MetricsReply>(MetricsRequest{unknown, 0, 10}).error().code, ErrorCode::kNotFound);
    EXPECT_EQ(client_->ask<EventsReply>(EventsRequest{unknown, 0, 10}).error().code, ErrorCode::kNotFound);
    EXPECT_EQ(client_->ask<LogsReply>(LogsRequest{unknown, 0, 0, 10}).error().code, ErrorCode::kNotFound);
  }
  EXPECT_TRUE(stop());
  // Nothing but files is left, all of it private.
  EXPECT_TRUE(std::filesystem::is_empty(state_dir() + "/run"));
  for (const char* path : {"", "/logs", "/run", "/jobs", "/jobs/1", "/jobs/1/logs"}) {
    struct stat info {};
    ASSERT_EQ(stat((state_dir() + path).c_str(), &info), 0) << path;
    EXPECT_EQ(info.st_mode & 0777, 0700u) << path;
  }
  must_start();
  EXPECT_EQ(client_->ask<ListReply>(ListRequest{})->jobs.at(0).state_sha256, "state");
}

TEST_F(DaemonTest, StartsWithoutStandardStreams) {
  for (const std::string closed : {"<&- >&-", ">&- 2>&-", "<&- >&- 2>&-"}) {
    SCOPED_TRACE(closed);
    starter_ = {"bash", "-c", "exec \"$@\" " + closed, "bash"};
    must_start();
    EXPECT_TRUE(client_->ask<ListReply>(ListRequest{}));
    EXPECT_TRUE(stop());
  }
}

TEST_F(DaemonTest, AWatchWaitsForNewsOrItsTime) {
  must_start();
  const JobId job = submit("runs");
  JobRecord record = wait_for(job, JobState::kRunning);
  const SystemClock clock;
  const double start = clock.now();
  const auto quiet = client_->ask<WatchReply>(WatchRequest{"1", record.revision, 300});
  ASSERT_TRUE(quiet);
  EXPECT_EQ(quiet->job.revision, record.revision);
  EXPECT_GE(clock.now() - start, 0.29);
  EXPECT_TRUE(client_->ask<WatchReply>(WatchRequest{"1", record.revision + 1000, 60000}, 2000))
      << "a revision of an earlier life is answered at once";
  client_->send(make_message({}, WatchRequest{"1", record.revision, 60000}));
  Client other(state_dir());
  ASSERT_TRUE(other.ask<StopReply>(StopRequest{"1"}));
  const auto news = client_->receive(2000);
  ASSERT_TRUE(news);
  EXPECT_GT(parse_body<WatchReply>(*news)->job.revision, record.revision);
  wait_for(job, JobState::kStopped);
}

struct Ending {
  const char* name;
  const char* says;
  friend void PrintTo(const Ending& one, std::ostream* out) { *out << one.name; }
};
class Endings : public DaemonTest, public ::testing::WithParamInterface<Ending> {};

TEST_P(Endings, ALostActorIsReplacedAndTheReasonIsKept) {
  must_start();
  const JobId job = submit(GetParam().name, 2, 2);
  const JobRecord record = wait_until(
      job, [](const JobRecord& r) { return r.restarts == 1 && r.actors == 2 && r.epoch.counter > 2; });
  EXPECT_EQ(record.state, JobState::kRunning);
  std::string text;
  const auto events = client_->ask<EventsReply>(EventsRequest{"1", 0, 100});
  ASSERT_TRUE(events);
  for (const EventRecord& e : events->events) {
    if (e.kind == "ActorLost") text = e.text;
  }
  EXPECT_THAT(text, HasSubstr(GetParam().says));
  EXPECT_THAT(text, HasSubstr(state_dir() + "/jobs/1/logs/actor-1.log"));
  ASSERT_TRUE(client_->ask<StopReply>(StopRequest{"1"}));
  wait_for(job, JobState::kStopped);
  wait_for(submit("finish", 2, 2), JobState::kSucceeded);
}

INSTANTIATE_TEST_SUITE_P(
    Table, Endings,
    ::testing::Values(Ending{"crash",
                             "actor 1 exited with code 3 before it finished, its last line: the fake actor "
                             "crashes"},
                      Ending{"killed", "actor 1 was killed by signal 9 (not by sengd"}),
    [](const auto& info) { return std::string(info.param.name); });

TEST_F(DaemonTest, AnActorThatCannotTrainFailsTheJobWithItsReason) {
  must_start();
  const JobRecord record = wait_for(submit("says-why", 2, 2), JobState::kFailed);
  EXPECT_THAT(record.reason, HasSubstr("actor 1: the data set is damaged"));
  EXPECT_THAT(record.reason, HasSubstr(state_dir() + "/jobs/1/logs/actor-1.log"));
  // The other actor is ended and the slots serve the next job.
  wait_for(submit("finish", 2, 2), JobState::kSucceeded);
}

TEST_F(DaemonTest, ScalesAndDrainsARunningJob) {
  must_start();
  const JobId job = submit("runs", 1, 1);
  wait_for(job, JobState::kRunning);
  const pid_t first = actor_pid(job);
  const auto scaled = client_->ask<ScaleReply>(ScaleRequest{"1", 2});
  ASSERT_TRUE(scaled) << scaled.error().message;
  EXPECT_EQ(scaled->job.actors_max, 2u);
  wait_until(job, [](const JobRecord& r) { return r.actors == 2; });
  EXPECT_EQ(actor_pid(job), first) << "it goes on in its process";
  EXPECT_EQ(client_->ask<DrainReply>(DrainRequest{"1", 7}).error().code, ErrorCode::kNotFound);
  EXPECT_EQ(client_->ask<ScaleReply>(ScaleRequest{"1", 99}).error().code, ErrorCode::kInvalidArgument);
  ASSERT_TRUE(client_->ask<DrainReply>(DrainRequest{"1", 0}));
  EXPECT_TRUE(wait_until_gone(first, 20));
  wait_until(job, [](const JobRecord& r) { return r.actors == 2 && r.epoch.counter >= 4; });
  ASSERT_TRUE(client_->ask<ScaleReply>(ScaleRequest{"1", 1}));
  wait_until(job, [](const JobRecord& r) { return r.actors == 1; });
  const JobRecord record = client_->ask<DescribeReply>(DescribeRequest{"1"})->job;
  EXPECT_EQ(record.state, JobState::kRunning);
  EXPECT_EQ(record.restarts, 0u);
  ASSERT_TRUE(client_->ask<StopReply>(StopRequest{"1"}));
  wait_for(job, JobState::kStopped);
}

TEST_F(DaemonTest, AStoppedActorIsLeftOutAndComesBack) {
  must_start();
  const JobId job = submit("runs", 2, 2);
  wait_for(job, JobState::kRunning);
  const pid_t pid = actor_pid(job);
  const SystemClock clock;
  const double begun = clock.now();
  kill(pid, SIGSTOP);
  wait_until(job, [](const JobRecord& r) { return r.actors == 1; });
  EXPECT_LT(clock.now() - begun, 4 * 0.4) << "of 0.4 s leases";
  kill(pid, SIGCONT);
  const JobRecord record = wait_until(job, [](const JobRecord& r) { return r.actors == 2; });
  EXPECT_EQ(record.restarts, 0u);
  EXPECT_GT(start_time_ticks_of(pid), 0u) << "the same process";
  ASSERT_TRUE(client_->ask<StopReply>(StopRequest{"1"}));
  wait_for(job, JobState::kStopped);
}

TEST_F(DaemonTest, AnActorThatDiesBeforeItsFirstWord) {
  ASSERT_EQ(start({}, {{"FAKE_ACTOR", "exit"}}).exit_code, 0);
  const JobRecord record = wait_for(submit("finish"), JobState::kFailed);
  EXPECT_THAT(record.reason, HasSubstr("exited with code 5"));
}

TEST_F(DaemonTest, ALingeringActorIsKilled) {
  must_start("0.1");
  const JobId job = submit("lingers");
  wait_for(job, JobState::kSucceeded);
  const pid_t pid = actor_pid(job);
  ASSERT_GT(pid, 0);
  EXPECT_TRUE(wait_until_gone(pid, 20));
}

TEST_F(DaemonTest, SubmitsAreRefusedWithReasons) {
  must_start();
  const auto refused = [&](const std::string& spec) {
    auto reply = client_->ask<SubmitReply>(SubmitRequest{spec, "job.yaml"});
    return reply ? Error{ErrorCode::kInternal, "it was taken"} : reply.error();
  };
  EXPECT_EQ(refused("}{").code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(refused(spec_text("bad-plan", 1, 1)).message, "model.name: no network \"x\"");
  EXPECT_THAT(refused(spec_text("crashing-plan", 1, 1)).message, HasSubstr("out of luck"));
  EXPECT_THAT(refused(spec_text("finish", 3, 3)).message, HasSubstr("this node has 2 slots"));
  EXPECT_TRUE(client_->ask<ListReply>(ListRequest{})->jobs.empty());
}

TEST_F(DaemonTest, APlanThatNeverEndsHoldsNobodyUp) {
  must_start("0.1");
  for (const char* name : {"sleeping-plan", "endless-plan"}) {
    client_->send(make_message({}, SubmitRequest{spec_text(name, 1, 1), "job.yaml"}));
    Client other(state_dir());
    const SystemClock clock;
    const double start = clock.now();
    for (int i = 0; i < 20; ++i) ASSERT_TRUE(other.ask<ListReply>(ListRequest{}));
    EXPECT_LT(clock.now() - start, 5);
    const auto reply = client_->receive(30000);  // 60 leases are 6 s
    ASSERT_TRUE(reply);
    const auto error = parse_body<ErrorReply>(*reply);
    ASSERT_TRUE(error);
    EXPECT_THAT(error->message, HasSubstr(name[0] == 's' ? "did not answer within 6 s" : "absurdly long"));
  }
}

TEST_F(DaemonTest, ASecondDaemonSaysWhoIsThere) {
  must_start();
  const RunResult second = run({binary("sengd"), "--state-dir", state_dir()});
  EXPECT_EQ(second.exit_code, 1);
  EXPECT_THAT(second.err, HasSubstr("pid " + std::to_string(pid_)));
  EXPECT_THAT(second.err, HasSubstr("since 20"));
  const RunResult foreground = run({binary("sengd"), "--state-dir", state_dir(), "--foreground"});
  EXPECT_EQ(foreground.exit_code, 1);
  EXPECT_TRUE(client_->ask<ListReply>(ListRequest{})) << "the first one is unharmed";
}

TEST_F(DaemonTest, SigtermStopsRunningJobsAndKeepsTheQueue) {
  must_start();
  const JobId runs = submit("runs", 2, 2);
  wait_for(runs, JobState::kRunning);
  const JobId waits = submit("finish", 2, 2);
  EXPECT_THAT(client_->ask<DescribeReply>(DescribeRequest{"2"})->job.reason, HasSubstr("waits for 2 slots"));
  EXPECT_TRUE(stop());
  EXPECT_THAT(log(), HasSubstr("goes on from its checkpoint of step")) << "it was asked, not killed";
  must_start();
  wait_for(runs, JobState::kRunning);  // from step 0: fake actors cannot read a checkpoint
  ASSERT_TRUE(client_->ask<StopReply>(StopRequest{"1"}));
  wait_for(waits, JobState::kSucceeded);
}

TEST_F(DaemonTest, SigtermDoesNotWaitForEverForTheDeaf) {
  must_start("0.1");
  wait_for(submit("deaf"), JobState::kRunning);
  // 30 leases for the job, 5 more from SIGTERM to SIGKILL.
  EXPECT_TRUE(stop(SIGTERM, 30));
  EXPECT_THAT(log(), HasSubstr("stopped"));
}

TEST_F(DaemonTest, ASecondSigintHurries) {
  must_start();
  wait_for(submit("deaf"), JobState::kRunning);
  const SystemClock clock;
  const double begun = clock.now();
  kill(pid_, SIGINT);
  while (log().find("SIGINT: stopping") == std::string::npos && clock.now() - begun < 10)
    std::this_thread::yield();
  EXPECT_TRUE(stop(SIGINT, 20));
  EXPECT_LT(clock.now() - begun, 10);
}

TEST_F(DaemonTest, ActorsOutliveTheDaemonAndTheNextTakesThemOver) {
  for (const bool killed : {true, false}) {
    ASSERT_EQ(start({"--keep-actors"}).exit_code, 0);
    const JobId job = submit("steps", 2, 2);
    const JobRecord before = wait_for(job, JobState::kRunning);
    const pid_t actor = actor_pid(job);
    stop(killed ? SIGKILL : SIGTERM);
    EXPECT_GT(start_time_ticks_of(actor), 0u) << "actors outlive the daemon";
    must_start();
    EXPECT_EQ(actor_pid(job), actor);
    const JobRecord after =
        wait_until(job, [&](const JobRecord& r) { return r.step > before.step + 20 && r.actors == 2; });
    EXPECT_EQ(after.state, JobState::kRunning);
    EXPECT_EQ(after.epoch, before.epoch) << "without a transition";
    EXPECT_EQ(after.restarts, 0u);
    // What is adopted can still be lost, replaced, and stopped.
    kill(actor, SIGKILL);
    wait_until(job, [](const JobRecord& r) { return r.restarts == 1 && r.actors == 2; });
    ASSERT_TRUE(client_->ask<StopReply>(StopRequest{std::to_string(job)}));
    wait_for(job, JobState::kStopped);
    EXPECT_TRUE(stop());
  }
}

TEST_F(DaemonTest, AJobWhoseActorsDiedWithTheDaemonResumes) {
  must_start();
  const JobId job = submit("runs", 1, 1);
  wait_for(job, JobState::kRunning);
  const JobId waits = submit("finish", 2, 2);
  const pid_t actor = actor_pid(job);
  stop(SIGKILL);
  kill(actor, SIGKILL);
  EXPECT_TRUE(wait_until_gone(actor, 10));
  must_start();
  wait_until(job, [](const JobRecord& r) { return r.restarts == 1 && r.reason.empty(); });
  ASSERT_TRUE(client_->ask<StopReply>(StopRequest{"1"}));
  wait_for(job, JobState::kStopped);
  wait_for(waits, JobState::kSucceeded);
}

TEST_F(DaemonTest, AnActorsProgramThatIsNoneIsRefusedAtItsStart) {
  const std::string nothing = state_dir() + "/none";
  for (const std::string& program : {std::string("/"), nothing}) {
    const RunResult result = run({binary("sengd"), "--state-dir", state_dir(), "--actor-binary", program});
    EXPECT_EQ(result.exit_code, 1);
    EXPECT_THAT(result.err, HasSubstr("cannot run " + program + ", which trains the jobs: "));
  }
}

TEST_F(DaemonTest, InTheForegroundItLogsToStderrAndEndsWithZero) {
  RunResult result;
  std::thread daemon([&] {
    result = run({binary("sengd"), "--state-dir", state_dir(), "--foreground", "--actor-binary",
                  binary("fake_actor")});
  });
  client_ = std::make_unique<Client>(state_dir());
  const auto version = client_->ask<VersionReply>(VersionRequest{});
  EXPECT_TRUE(version);
  if (version) {
    EXPECT_EQ(version->state_dir, state_dir());
    wait_for(submit("finish"), JobState::kSucceeded);
    kill(static_cast<pid_t>(version->pid), SIGINT);
  }
  daemon.join();
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("serving at"));
  EXPECT_THAT(result.err, HasSubstr("stopped"));
}

TEST_F(DaemonTest, EndsWhenItsStateDirectoryIsTakenAway) {
  for (const bool whole : {true, false}) {
    SCOPED_TRACE(whole ? "the directory" : "its lock");
    RunResult result;
    std::thread daemon([&] {
      result = run({binary("sengd"), "--state-dir", state_dir(), "--slots", "1", "--foreground",
                    "--actor-binary", binary("fake_actor")});
    });
    auto client = std::make_unique<Client>(state_dir());
    EXPECT_TRUE(client->ask<VersionReply>(VersionRequest{}));
    const auto reply = client->ask<SubmitReply>(SubmitRequest{spec_text("runs", 1, 1), "runs.yaml"});
    EXPECT_TRUE(reply);
    client_ = std::move(client);
    if (reply) wait_for(reply->job.id, JobState::kRunning);
    client_.reset();
    // What the actor is just about to write there makes a removal fail; moving away cannot.
    if (whole)
      std::filesystem::rename(state_dir(), dir_.path() + "/elsewhere");
    else
      std::filesystem::remove(state_dir() + "/sengd.lock");
    daemon.join();
    EXPECT_EQ(result.exit_code, 1);
    EXPECT_THAT(result.err, HasSubstr("sengd.lock was removed or moved away while sengd ran"));
    EXPECT_THAT(left_of(state_dir()), ::testing::IsEmpty());
  }
}

TEST_F(DaemonTest, WithoutAnActorBinaryItDoesNotStart) {
  for (const bool foreground : {false, true}) {
    std::vector<std::string> command = {binary("sengd"), "--state-dir", state_dir(), "--actor-binary",
                                        dir_.path() + "/seng-actor"};
    if (foreground) command.emplace_back("--foreground");
    const RunResult result = run(command);
    EXPECT_EQ(result.exit_code, 1);
    EXPECT_THAT(result.err, HasSubstr("cannot run " + dir_.path() + "/seng-actor"));
    EXPECT_FALSE(std::filesystem::exists(state_dir()));
  }
}

TEST_F(DaemonTest, SighupReopensTheLog) {
  must_start();
  std::filesystem::rename(state_dir() + "/logs/sengd.log", state_dir() + "/logs/old.log");
  kill(pid_, SIGHUP);
  const SystemClock clock;
  const double end = clock.now() + 10;
  while (log().empty() && clock.now() < end) std::this_thread::yield();
  EXPECT_THAT(log(), HasSubstr("log opened anew"));
}

// utime, stime and context switches of all threads.
struct Usage {
  std::uint64_t ticks = 0, switches = 0;
};
Usage usage_of(pid_t pid) {
  Usage out;
  const std::string stat = read_file("/proc/" + std::to_string(pid) + "/stat", 4096).value_or("");
  std::istringstream fields(stat.substr(stat.rfind(')') + 2));
  std::string field;
  for (int i = 3; i <= 15 && fields >> field; ++i) {
    if (i >= 14) out.ticks += std::stoull(field);
  }
  for (const auto& task : std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/task")) {
    std::istringstream lines(read_file(task.path().string() + "/status", 1 << 16).value_or(""));
    for (std::string line; std::getline(lines, line);) {
      if (line.rfind("voluntary_ctxt_switches:", 0) == 0) out.switches += std::stoull(line.substr(24));
    }
  }
  return out;
}

TEST_F(DaemonTest, IdlesWithoutUsingTheCpu) {
  must_start();
  wait_for(submit("finish"), JobState::kSucceeded);
  client_.reset();
  const SystemClock clock;
  // What the job left to do (the last flush, the actor's exit) is done within a few leases.
  for (double end = clock.now() + 3; clock.now() < end;) usleep(100000);
  const Usage before = usage_of(pid_);
  for (double end = clock.now() + 3; clock.now() < end;) usleep(100000);
  const Usage after = usage_of(pid_);
  EXPECT_LE(after.ticks - before.ticks, 1u) << "of 300";
  EXPECT_LE(after.switches - before.switches, 3u) << "something ticks";
}

TEST_F(DaemonTest, GarbageOnBothSocketsIsSurvived) {
  must_start();
  wait_for(submit("runs"), JobState::kRunning);
  std::random_device device;
  const unsigned seed = device();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  const auto bytes = [&](std::size_t size) {
    std::string out(size, ' ');
    for (char& c : out) c = static_cast<char>(random());
    return out;
  };
  // Messages with a good envelope and a bad body, and of kinds that do not belong there.
  Client stranger(state_dir());
  for (const std::uint16_t kind : {100, 102, 104, 106, 108, 110, 112, 114, 116, 118, 200, 207, 303, 210}) {
    Message message;
    message.envelope.kind = kind;
    message.envelope.sequence = 1000u + kind;
    message.body = Frame::from_string(bytes(50));
    stranger.send(message);
    const auto reply = stranger.receive(10000);
    ASSERT_TRUE(reply) << kind;
    EXPECT_EQ(reply->envelope.kind, static_cast<std::uint16_t>(MessageKind::kError)) << kind;
    EXPECT_EQ(reply->envelope.sequence, 1000u + kind);
  }
  void* context = zmq_ctx_new();
  for (const std::string& path : {state_dir() + "/sengd.sock", state_dir() + "/run/actors.sock"}) {
    void* dealer = zmq_socket(context, ZMQ_DEALER);
    const int linger = 1000;
    zmq_setsockopt(dealer, ZMQ_LINGER, &linger, sizeof(linger));
    ASSERT_EQ(zmq_connect(dealer, ("ipc://" + path).c_str()), 0);
    for (int i = 0; i < 500; ++i) {
      const int frames = 1 + static_cast<int>(random() % 4);
      for (int f = 0; f < frames; ++f) {
        const std::string frame = bytes(random() % 200);
        zmq_send(dealer, frame.data(), frame.size(), f + 1 < frames ? ZMQ_SNDMORE : 0);
      }
    }
    zmq_close(dealer);
    for (int i = 0; i < 20; ++i) {  // not even ZeroMQ
      const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
      sockaddr_un address{};
      address.sun_family = AF_UNIX;
      path.copy(address.sun_path, sizeof(address.sun_path) - 1);
      ASSERT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
      const std::string noise = bytes(1 + random() % 5000);
      send(fd, noise.data(), noise.size(), MSG_NOSIGNAL);
      close(fd);
    }
  }
  zmq_ctx_term(context);
  // An actor's words from somebody who is none.
  ChannelContext own;
  auto liar = *connect_client(own, "ipc://" + state_dir() + "/run/actors.sock");
  for (const bool with_hello : {false, true}) {
    Envelope envelope;
    envelope.job = 1;
    envelope.from = 0;
    envelope.epoch = {1, 1};
    if (with_hello) (void)liar->send(make_message(envelope, ActorHello{}));
    (void)liar->send(make_message(envelope, Finished{3, false, "w", "s"}));
    (void)liar->send(make_message(envelope, ActorFailed{ErrorCode::kInternal, "ha"}));
  }
  // The daemon still serves, and the job still trains.
  EXPECT_EQ(client_->ask<ListReply>(ListRequest{})->jobs.at(0).state, JobState::kRunning);
  ASSERT_TRUE(client_->ask<StopReply>(StopRequest{"1"}));
  wait_for(1, JobState::kStopped);
}

TEST_F(DaemonTest, BadStateDirectoriesAreExplained) {
  std::filesystem::create_directory(state_dir());
  std::filesystem::permissions(state_dir(), std::filesystem::perms(0700));
  std::ofstream(state_dir() + "/seng.db") << "this is no database, and long enough to be looked at closely";
  for (const bool foreground : {false, true}) {
    const RunResult damaged =
        start(foreground ? std::vector<std::string>{"--foreground"} : std::vector<std::string>{});
    EXPECT_EQ(damaged.exit_code, 1);
    EXPECT_THAT(damaged.err, HasSubstr("seng.db"));
    EXPECT_THAT(damaged.err, HasSubstr("Move it away"));
  }
  const RunResult nowhere = run({binary("sengd"), "--state-dir", "/proc/self/nothing"});
  EXPECT_EQ(nowhere.exit_code, 1);
  EXPECT_THAT(nowhere.err, HasSubstr("/proc/self/nothing"));
  const RunResult file = run({binary("sengd"), "--state-dir", state_dir() + "/seng.db"});
  EXPECT_EQ(file.exit_code, 1);
  EXPECT_THAT(file.err, HasSubstr("not a directory"));
  const RunResult longest = run({binary("sengd"), "--state-dir", dir_.path() + "/" + std::string(120, 'x')});
  EXPECT_EQ(longest.exit_code, 1);
  EXPECT_THAT(longest.err, HasSubstr("choose a shorter"));
  EXPECT_EQ(run({binary("sengd"), "--bogus"}).exit_code, 2);
  EXPECT_EQ(run({binary("sengd"), "--help"}).exit_code, 0);
  EXPECT_THAT(run({binary("sengd"), "--print-config", "--state-dir", state_dir()}).out,
              HasSubstr("lease_seconds: 1"));
  EXPECT_TRUE(left_of(dir_.path()).empty());
}

}  // namespace
}  // namespace seng::testing
