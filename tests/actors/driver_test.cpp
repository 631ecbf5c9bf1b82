// An actor's whole life against a daemon played by the test: real sockets, the real driver.
#include "actors/driver.h"

#include <algorithm>
#include <filesystem>
#include <set>
#include <thread>
#include <utility>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "actors/checkpoint/safetensors.h"
#include "actors/divergence.h"
#include "actors/state/blob_server.h"
#include "protocol/base/file.h"
#include "protocol/channel/poller.h"
#include "protocol/channel/zmq_channel.h"
#include "protocol/messages/control.h"
#include "tests/actors/exchange/played_link.h"
#include "tests/support/process.h"

namespace seng::driver_test {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr const char* kJob =
    "name: life\nmodel: {name: mlp, hidden: \"8\"}\n"
    "data: {name: synthetic, train: 64, test: 10, channels: 1, height: 5, width: 5, classes: 3}\n"
    "batch: {global: 16, micro: 4}\nsteps: 6\nledger: true\n"
    "optimizer: {name: seng, lr: 0.05, damping: 0.3, curvature: {every: 2, samples: 8}}\n"
    "checkpoint: {every_steps: 4, keep: 2}\n";

// The same, longer than any test.
std::string endless_job() {
  std::string job = kJob;
  return job.replace(job.find("steps: 6"), 8, "steps: 1000000");
}

// One whose steps take longer than to hear of them. Without checkpoints, whoever restores begins at step 0.
constexpr const char* kLongSteps =
    "name: life\nmodel: {name: mlp, hidden: \"256,128\"}\n"
    "data: {name: synthetic, train: 1000, test: 10, channels: 1, height: 16, width: 16, classes: 3}\n"
    "batch: {global: 256, micro: 64}\nsteps: 1000000\nevaluate: {every_epochs: 0}\n"
    "optimizer: {name: seng, lr: 0.05, damping: 0.3, curvature: {every: 4, samples: 8}}\n";

// The daemon's side of one actor's conversation.
class PlayedDaemon {
 public:
  PlayedDaemon() {
    auto server = bind_server(context_, "ipc://" + directory_.path() + "/d");
    if (!server) throw std::runtime_error(server.error().message);
    server_ = std::move(*server);
    poller_.watch(*server_, 1);
  }
  const std::string& endpoint() const { return server_->endpoint(); }
  const std::string& directory() const { return directory_.path(); }

  // The next message of the kind; others are kept in `seen`. Empty after 30 s of silence.
  template <class Body>
  std::optional<Body> expect() {
    while (true) {
      while (auto incoming = server_->try_receive()) {
        peer_ = incoming->from;
        seen.push_back(incoming->message.envelope);
        const auto last = parse_body<Finished>(incoming->message);
        if (answers_finished && last && !last->retired) send(Retire{}, incoming->message.envelope.epoch);
        if (incoming->message.envelope.kind != static_cast<std::uint16_t>(Body::kKind)) {
          keep(incoming->message);
          continue;
        }
        auto body = parse_body<Body>(incoming->message);
        return body ? std::optional<Body>(std::move(*body)) : std::nullopt;
      }
      const auto ready = poller_.wait(30000);
      if (!ready || ready->empty()) return std::nullopt;
    }
  }
  template <class Body>
  void send(const Body& body, GroupEpoch epoch) {
    Envelope envelope;
    envelope.job = 7;
    envelope.epoch = epoch;
    ASSERT_TRUE(server_->send(peer_, make_message(envelope, body)));
  }
  void keep(const Message& message) {
    if (auto progress = parse_body<Progress>(message)) {
      steps.insert(steps.end(), progress->steps.begin(), progress->steps.end());
      for (const StepMetrics& step : progress->steps) told_in.insert({message.envelope.epoch, step.step});
    }
    if (auto report = parse_body<CheckpointReport>(message)) checkpoints.push_back(*report);
    if (auto report = parse_body<EpochReport>(message)) epochs.push_back(report->metrics);
    if (auto failed = parse_body<ActorFailed>(message)) failures.push_back(failed->message);
    if (auto event = parse_body<ActorEvent>(message)) events.push_back(*event);
  }

  bool answers_finished = true;
  std::vector<Envelope> seen;
  std::vector<StepMetrics> steps;
  std::set<std::pair<GroupEpoch, std::uint64_t>> told_in;  // steps, and in which membership
  std::vector<EpochMetrics> epochs;
  std::vector<CheckpointReport> checkpoints;
  std::vector<std::string> failures;
  std::vector<ActorEvent> events;

 private:
  testing::TempDir directory_;
  ChannelContext context_;
  std::unique_ptr<ServerChannel> server_;
  Poller poller_;
  PeerId peer_;
};

// The actor, on its own thread.
class RunningActor {
 public:
  explicit RunningActor(PlayedDaemon& daemon, ActorId actor = 0, const link::Module* nccl = nullptr)
      : peer_("ipc://" + daemon.directory() + "/p"), state_("ipc://" + daemon.directory() + "/s") {
    SessionOptions options;
    options.daemon_endpoint = daemon.endpoint();
    options.job = 7;
    options.hello.token = "secret";
    options.hello.peer_endpoint = peer_;
    options.hello.state_endpoint = state_;
    options.actor = actor;
    thread_ = std::thread([this, options, actor, nccl] {
      Session session(options);
      status_ = session.start();
      if (!status_) return;
      Driver driver({.job = 7,
                     .actor = actor,
                     .slot_lanes = 2,
                     .peer_endpoint = peer_,
                     .state_endpoint = state_,
                     .nccl = nccl},
                    session);
      status_ = driver.run();
    });
  }
  Status finish() {
    thread_.join();
    return status_;
  }

 private:
  std::string peer_, state_;
  Status status_;
  std::thread thread_;
};

Reconfigure group_of_one(const PlayedDaemon& daemon) {
  return {.members = {
              {0, "n", "ipc://" + daemon.directory() + "/p", 0, 4, "ipc://" + daemon.directory() + "/s"}}};
}

// Begins the membership; gives the step that the actor was at.
std::uint64_t start_group(PlayedDaemon& daemon, GroupEpoch epoch, bool restore = true) {
  Reconfigure members = group_of_one(daemon);
  members.restore = restore;
  daemon.send(members, epoch);
  const auto parked = daemon.expect<Parked>();
  EXPECT_TRUE(parked);
  if (!parked) return 0;
  daemon.send(Assign{parked->applied_step, {0}}, epoch);
  EXPECT_TRUE(daemon.expect<Ready>());
  daemon.send(Resume{}, epoch);
  return parked->applied_step;
}

Welcome welcome_of(const PlayedDaemon& daemon, const std::string& job = kJob) {
  std::filesystem::create_directory(daemon.directory() + "/job");
  Welcome welcome;
  welcome.spec_yaml = job;
  welcome.job_dir = daemon.directory() + "/job";
  welcome.job_token = "peers";
  welcome.lease_ms = 200;
  return welcome;
}

TEST(DriverSession, TrainsReportsCheckpointsAndFinishes) {
  PlayedDaemon daemon;
  RunningActor actor(daemon);
  const auto hello = daemon.expect<ActorHello>();
  ASSERT_TRUE(hello);
  EXPECT_EQ(hello->token, "secret");
  daemon.send(welcome_of(daemon), {});
  start_group(daemon, {3, 1});
  const auto finished = daemon.expect<Finished>();
  ASSERT_TRUE(finished);
  EXPECT_TRUE(actor.finish());
  EXPECT_EQ(finished->step, 6u);
  EXPECT_FALSE(finished->stopped);
  EXPECT_EQ(finished->state_sha256.size(), 64u);
  ASSERT_EQ(daemon.steps.size(), 6u);
  for (std::size_t i = 0; i < 6; ++i) {
    EXPECT_EQ(daemon.steps[i].step, i + 1);
    EXPECT_EQ(daemon.steps[i].refreshed, i % 2 == 0);
    EXPECT_GT(daemon.steps[i].loss, 0);
  }
  ASSERT_EQ(daemon.checkpoints.size(), 2u);
  EXPECT_EQ(daemon.checkpoints[0].step, 4u);
  EXPECT_EQ(daemon.checkpoints[1].state_sha256, finished->state_sha256);
  EXPECT_TRUE(std::filesystem::exists(daemon.checkpoints[1].path + "/manifest.json"));
  ASSERT_FALSE(daemon.epochs.empty());
  EXPECT_GE(daemon.epochs.back().test_accuracy, 0);
  // Reports carry the membership that they belong to.
  EXPECT_EQ(daemon.seen.back().epoch, (GroupEpoch{3, 1}));
}

// What the daemon had not stored when it died is not lost, though the job has ended meanwhile.
TEST(DriverSession, WhoHasFinishedStaysUntilADaemonHasHeardIt) {
  PlayedDaemon daemon;
  daemon.answers_finished = false;
  RunningActor actor(daemon);
  ASSERT_TRUE(daemon.expect<ActorHello>());
  daemon.send(welcome_of(daemon), {});
  start_group(daemon, {3, 1});
  const auto finished = daemon.expect<Finished>();
  ASSERT_TRUE(finished);
  const auto epochs = daemon.epochs;
  ASSERT_FALSE(epochs.empty());
  ASSERT_TRUE(daemon.expect<Progress>()) << "it lives";
  daemon.steps.clear(), daemon.epochs.clear(), daemon.checkpoints.clear();
  daemon.send(HelloWanted{}, {});
  const auto hello = daemon.expect<ActorHello>();
  ASSERT_TRUE(hello);
  EXPECT_EQ(hello->applied_step, 6u);
  EXPECT_EQ(hello->activity, kSaving);
  const auto again = daemon.expect<Finished>();
  ASSERT_TRUE(again);
  EXPECT_EQ(again->state_sha256, finished->state_sha256);
  ASSERT_EQ(daemon.steps.size(), 6u) << "before the last word";
  EXPECT_EQ(daemon.epochs.size(), epochs.size());
  EXPECT_EQ(daemon.epochs.back().test_accuracy, epochs.back().test_accuracy);
  EXPECT_EQ(daemon.checkpoints.size(), 2u);
  daemon.send(Retire{}, {3, 1});
  EXPECT_TRUE(actor.finish());
}

// A daemon that was started anew has heard of them in the place of the actor that waits.
TEST(DriverSession, GoesByTheChoicesOfTheWelcomeThatAwaitsNoneAnyMore) {
  PlayedDaemon daemon;
  RunningActor actor(daemon);
  ASSERT_TRUE(daemon.expect<ActorHello>());
  const std::string decided = "H100; forward f32 nhwc 2x1x8x8 4x3x3 s1 p1 = 6";
  const std::string job = std::string(kJob) + "engine: {tune: true";
  Welcome welcome = welcome_of(daemon, job + "}\n");
  welcome.awaits_choices = true;
  daemon.send(welcome, {});
  welcome.spec_yaml = job + ", choices: \"" + decided + "\"}\n";
  welcome.awaits_choices = false;
  daemon.send(welcome, {});
  ASSERT_TRUE(daemon.expect<Prepared>());
  start_group(daemon, {3, 1});
  ASSERT_TRUE(daemon.expect<Finished>());
  EXPECT_TRUE(actor.finish());
  ASSERT_FALSE(daemon.checkpoints.empty());
  const auto manifest = read_file(daemon.checkpoints.back().path + "/manifest.json", 1 << 20);
  ASSERT_TRUE(manifest);
  EXPECT_NE(manifest->find(decided), std::string::npos) << *manifest;
}

TEST(DriverSession, WaitsForRoomForItsLedger) {
  PlayedDaemon daemon;
  RunningActor actor(daemon);
  ASSERT_TRUE(daemon.expect<ActorHello>());
  const Welcome welcome = welcome_of(daemon);
  const std::string ledger = welcome.job_dir + "/ledger-0.csv";
  std::filesystem::create_directory(ledger);  // so that it cannot be made
  daemon.send(welcome, {});
  ASSERT_TRUE(daemon.expect<Progress>());
  ASSERT_TRUE(daemon.expect<Progress>());
  std::filesystem::remove(ledger);
  ASSERT_TRUE(daemon.expect<Prepared>());
  start_group(daemon, {3, 1});
  ASSERT_TRUE(daemon.expect<Finished>());
  EXPECT_TRUE(actor.finish());
}

// It came to the job's end with what it was given, and has committed no step itself.
TEST(DriverSession, WhoLedNoStepTellsItsReportsAgainToo) {
  PlayedDaemon daemon;
  RunningActor actor(daemon);
  ASSERT_TRUE(daemon.expect<ActorHello>());
  daemon.send(welcome_of(daemon), {});
  start_group(daemon, {3, 1});
  const auto finished = daemon.expect<Finished>();
  ASSERT_TRUE(finished);
  ASSERT_TRUE(actor.finish());
  PlayedDaemon next;
  next.answers_finished = false;
  RunningActor heir(next);
  ASSERT_TRUE(next.expect<ActorHello>());
  Welcome welcome = welcome_of(daemon);
  next.send(welcome, {});
  EXPECT_EQ(start_group(next, {3, 2}), 6u);
  const auto end = next.expect<Finished>();
  ASSERT_TRUE(end);
  EXPECT_EQ(end->state_sha256, finished->state_sha256);
  next.checkpoints.clear();
  next.send(HelloWanted{}, {});
  ASSERT_TRUE(next.expect<ActorHello>());
  const auto again = next.expect<Finished>();
  ASSERT_TRUE(again);
  EXPECT_EQ(again->state_sha256, finished->state_sha256);
  EXPECT_EQ(next.checkpoints.size(), 1u);
  next.send(Retire{}, {3, 2});
  EXPECT_TRUE(heir.finish());
}

TEST(DriverSession, StopEndsAfterAWholeStepWithACheckpoint) {
  PlayedDaemon daemon;
  RunningActor actor(daemon);
  ASSERT_TRUE(daemon.expect<ActorHello>());
  const std::string job = endless_job();
  daemon.send(welcome_of(daemon, job), {});
  start_group(daemon, {1, 1});
  ASSERT_TRUE(daemon.expect<Progress>());
  daemon.send(StopTraining{"test"}, {1, 1});
  const auto finished = daemon.expect<Finished>();
  ASSERT_TRUE(finished);
  EXPECT_TRUE(actor.finish());
  EXPECT_TRUE(finished->stopped);
  EXPECT_LT(finished->step, 1000000u);
  ASSERT_FALSE(daemon.checkpoints.empty());
  EXPECT_EQ(daemon.checkpoints.back().step, finished->step);
}

// A membership that replaces another before the first has trained: the older one's messages have no effect.
TEST(DriverSession, ANewerMembershipReplacesTheOlder) {
  PlayedDaemon daemon;
  RunningActor actor(daemon);
  ASSERT_TRUE(daemon.expect<ActorHello>());
  daemon.send(welcome_of(daemon), {});
  const Reconfigure members = group_of_one(daemon);
  daemon.send(members, {1, 1});
  ASSERT_TRUE(daemon.expect<Parked>());
  daemon.send(members, {1, 2});
  ASSERT_TRUE(daemon.expect<Parked>());
  daemon.send(Assign{0, {}}, {1, 1});  // stale
  daemon.send(Resume{}, {1, 1});       // stale
  daemon.send(Assign{0, {}}, {1, 2});
  ASSERT_TRUE(daemon.expect<Ready>());
  EXPECT_EQ(daemon.seen.back().epoch, (GroupEpoch{1, 2}));
  daemon.send(Resume{}, {1, 2});
  EXPECT_TRUE(daemon.expect<Finished>());
  EXPECT_TRUE(actor.finish());
}

// Its steps are far too long: the weights grow until a product of theirs overflows.
std::string diverging_job(const std::string& more) {
  std::string job = kJob;
  job.replace(job.find("steps: 6"), 8, "steps: 200");
  job.replace(job.find("{every_steps: 4"), 15, "{every_steps: 1");
  const std::size_t optimizer = job.find("optimizer:"), end = job.find('\n', optimizer);
  job.replace(optimizer, end - optimizer, "optimizer: {name: sgd, lr: 1000000}");
  return job + more;
}

bool has_finite_weights(const std::string& checkpoint) {
  const auto file = SafetensorsFile::open(checkpoint + "/model.safetensors");
  EXPECT_TRUE(file) << (file ? "" : file.error().message);
  bool finite = file.has_value();
  for (const auto& tensor : file ? file->tensors() : std::vector<TensorInfo>{}) {
    std::vector<float> values(tensor.count);
    EXPECT_TRUE(file->read(tensor, values));
    finite = finite && all_finite(values);
  }
  return finite;
}

TEST(DriverSession, FailsWhereTheLossIsNotFiniteAndKeepsTheGoodCheckpoints) {
  PlayedDaemon daemon;
  RunningActor actor(daemon);
  ASSERT_TRUE(daemon.expect<ActorHello>());
  daemon.send(welcome_of(daemon, diverging_job("")), {});
  start_group(daemon, {1, 1});
  const auto finished = daemon.expect<Finished>();
  ASSERT_TRUE(finished);
  EXPECT_TRUE(actor.finish());
  EXPECT_LT(finished->step, 200u);
  const std::string when = "diverged at step " + std::to_string(finished->step) + ":";
  EXPECT_EQ(finished->failure.find(when), 0u) << finished->failure;
  EXPECT_NE(finished->failure.find("lower optimizer.lr"), std::string::npos);
  ASSERT_FALSE(daemon.events.empty());
  EXPECT_EQ(daemon.events.back().kind, "LossNotFinite");
  EXPECT_EQ(daemon.events.back().text, finished->failure);
  ASSERT_FALSE(daemon.checkpoints.empty());
  EXPECT_LT(daemon.checkpoints.back().step, finished->step);
  EXPECT_TRUE(has_finite_weights(daemon.checkpoints.back().path));
}

TEST(DriverSession, TrainsOnWithoutFiniteNumbersWhereItIsToldTo) {
  PlayedDaemon daemon;
  RunningActor actor(daemon);
  ASSERT_TRUE(daemon.expect<ActorHello>());
  daemon.send(welcome_of(daemon, diverging_job("on_divergence: continue\n")), {});
  start_group(daemon, {1, 1});
  const auto finished = daemon.expect<Finished>();
  ASSERT_TRUE(finished);
  EXPECT_TRUE(actor.finish());
  EXPECT_EQ(finished->step, 200u);
  EXPECT_EQ(finished->failure, "");
  std::size_t said = 0;
  for (const ActorEvent& event : daemon.events) {
    EXPECT_EQ(event.severity, Severity::kWarning);
    said += event.text.find(": the loss is not finite") != std::string::npos;
  }
  EXPECT_EQ(said, 1u);
  // The last one ends the job; of the others only those with finite weights were written.
  ASSERT_GT(daemon.checkpoints.size(), 1u);
  EXPECT_EQ(daemon.checkpoints.back().step, 200u);
  EXPECT_TRUE(has_finite_weights(daemon.checkpoints[daemon.checkpoints.size() - 2].path));
}

TEST(DriverSession, SaysWhyItCannotTrain) {
  PlayedDaemon daemon;
  RunningActor actor(daemon);
  ASSERT_TRUE(daemon.expect<ActorHello>());
  std::string job = kJob;
  job.replace(job.find("synthetic"), 9, "synthetik");
  daemon.send(welcome_of(daemon, job), {});
  const Status status = actor.finish();
  ASSERT_FALSE(status);
  EXPECT_NE(status.error().message.find("synthetic"), std::string::npos) << status.error().message;
}

TEST(DriverSession, LeavesWhenTheDaemonRefusesIt) {
  PlayedDaemon daemon;
  RunningActor actor(daemon);
  ASSERT_TRUE(daemon.expect<ActorHello>());
  daemon.send(ErrorReply{ErrorCode::kNotFound, "job 7 is over"}, {});
  const Status status = actor.finish();
  ASSERT_FALSE(status);
  EXPECT_NE(status.error().message.find("job 7 is over"), std::string::npos);
}

// Also in the middle of training: nobody would stop it otherwise.
TEST(DriverSession, LeavesTrainingWhenTheDaemonRefusesIt) {
  PlayedDaemon daemon;
  RunningActor actor(daemon);
  ASSERT_TRUE(daemon.expect<ActorHello>());
  const std::string job = endless_job();
  daemon.send(welcome_of(daemon, job), {});
  start_group(daemon, {1, 1});
  ASSERT_TRUE(daemon.expect<Progress>());
  daemon.send(ErrorReply{ErrorCode::kNotFound, "job 7 is over"}, {});
  EXPECT_FALSE(actor.finish());
}

// A checkpoint that cannot be written is reported, and training goes on; the last one is tried again when the
// daemon begins a membership for it.
TEST(DriverSession, ReportsACheckpointThatCannotBeWritten) {
  PlayedDaemon daemon;
  RunningActor actor(daemon);
  ASSERT_TRUE(daemon.expect<ActorHello>());
  const Welcome welcome = welcome_of(daemon);
  const int blocker =
      ::creat((welcome.job_dir + "/checkpoints").c_str(), 0600);  // a file where a folder must be
  ASSERT_GE(blocker, 0);
  ::close(blocker);
  daemon.send(welcome, {});
  start_group(daemon, {1, 1});
  const auto first = daemon.expect<CheckpointReport>();
  ASSERT_TRUE(first);
  EXPECT_EQ(first->step, 4u);
  EXPECT_NE(first->error, "");
  const auto second = daemon.expect<CheckpointReport>();
  ASSERT_TRUE(second);
  EXPECT_EQ(second->step, 6u);
  EXPECT_NE(second->error, "");
  std::filesystem::remove(welcome.job_dir + "/checkpoints");
  EXPECT_EQ(start_group(daemon, {1, 2}, false), 6u);
  const auto finished = daemon.expect<Finished>();
  ASSERT_TRUE(finished);
  EXPECT_EQ(finished->step, 6u);
  EXPECT_TRUE(actor.finish());
}

// The old membership's leader says where it ends; nothing that was begun is left.
TEST(DriverSession, APlannedChangeComesBehindAWholeStep) {
  PlayedDaemon daemon;
  RunningActor actor(daemon);
  ASSERT_TRUE(daemon.expect<ActorHello>());
  const std::string job = endless_job();
  daemon.send(welcome_of(daemon, job), {});
  ASSERT_TRUE(daemon.expect<Prepared>());
  start_group(daemon, {1, 1});
  ASSERT_TRUE(daemon.expect<Progress>());
  Reconfigure members = group_of_one(daemon);
  members.planned = true;
  members.follows = {1, 1};
  daemon.send(members, {1, 2});
  const auto parked = daemon.expect<Parked>();
  ASSERT_TRUE(parked);
  EXPECT_GT(parked->applied_step, 0u);
  daemon.send(Assign{parked->applied_step, {0}}, {1, 2});
  ASSERT_TRUE(daemon.expect<Ready>());
  daemon.send(Resume{}, {1, 2});
  ASSERT_TRUE(daemon.expect<Progress>());
  // A leaver: it offers what it has until it is told to go.
  Reconfigure without;
  without.leavers = members.members;
  without.members = {{1, "n", "ipc://" + daemon.directory() + "/nobody", 0, 4, ""}};
  daemon.send(without, {1, 3});
  const auto left = daemon.expect<Parked>();
  ASSERT_TRUE(left);
  EXPECT_FALSE(left->curvature.empty());
  daemon.send(Assign{left->applied_step, {0}}, {1, 3});
  daemon.send(Retire{}, {1, 3});
  const auto finished = daemon.expect<Finished>();
  ASSERT_TRUE(finished);
  EXPECT_TRUE(finished->retired);
  EXPECT_TRUE(actor.finish());
}

constexpr const char* kFastSums = "exchange: {path: auto, reduce: fast}\n";

// An actor that has made steps alone, in memberships that another leads, of which nothing is heard.
class LedByAnother : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(daemon_.expect<ActorHello>());
    daemon_.send(welcome_of(daemon_, endless_job()), {});
    ASSERT_TRUE(daemon_.expect<Prepared>());
    start_group(daemon_, {1, 1});
    for (std::uint64_t step = 0; step == 0;) {
      const auto progress = daemon_.expect<Progress>();
      ASSERT_TRUE(progress);
      step = progress->applied_step;
    }
  }
  // Gives the step that it is at.
  std::uint64_t park(GroupEpoch epoch) {
    Reconfigure two = group_of_one(daemon_);
    Member leader = two.members.front();
    leader.actor = 9;
    leader.endpoint += "-other", leader.state_endpoint += "-other";
    leader.last_micro = 2, two.members.front().first_micro = 2;
    two.members.insert(two.members.begin(), leader);
    daemon_.send(two, epoch);
    return daemon_.expect<Parked>().value_or(Parked{}).applied_step;
  }
  // Is ready to go on in it from its own step: what it tells before it says so of those behind `heard`.
  std::vector<StepMetrics> told_in(GroupEpoch epoch, std::uint64_t step, std::uint64_t heard) {
    daemon_.steps.clear();
    daemon_.send(Assign{step, {0, 9}, {}, {}, heard}, epoch);
    EXPECT_TRUE(daemon_.expect<Ready>());
    return std::exchange(daemon_.steps, {});
  }
  void leave(GroupEpoch epoch) {
    daemon_.send(group_of_one(daemon_), epoch);
    ASSERT_TRUE(daemon_.expect<Parked>());
    daemon_.send(Retire{}, epoch);
    EXPECT_TRUE(daemon_.expect<Finished>());
    EXPECT_TRUE(actor_.finish());
  }

  PlayedDaemon daemon_;
  // Takes what is sent to the other, so that nobody waits for that at the end.
  ChannelContext context_;
  Result<std::unique_ptr<ServerChannel>> other_ =
      bind_server(context_, "ipc://" + daemon_.directory() + "/p-other");
  RunningActor actor_{daemon_};
};

// That one may lack it, and pull it.
TEST_F(LedByAnother, ItTellsTheStepThatTheGroupBeginsWith) {
  const std::uint64_t step = park({1, 2});
  const auto told = told_in({1, 2}, step, step - 1);
  ASSERT_EQ(told.size(), 1u);
  EXPECT_EQ(told[0].step, step);
  EXPECT_GT(told[0].loss, 0);
  leave({1, 3});
}

// Who was to tell them may be gone, and who leads may not have made them.
TEST_F(LedByAnother, ItTellsTheStepsThatTheDaemonHasNotHeardOf) {
  const std::uint64_t step = park({1, 2});
  ASSERT_GT(step, 2u);
  const auto numbers = [](const std::vector<StepMetrics>& told) {
    std::vector<std::uint64_t> out;
    for (const StepMetrics& each : told) out.push_back(each.step);
    return out;
  };
  EXPECT_THAT(numbers(told_in({1, 2}, step, step - 2)), ElementsAre(step - 1, step));
  ASSERT_EQ(park({1, 3}), step);
  EXPECT_THAT(numbers(told_in({1, 3}, step, step)), IsEmpty());
  ASSERT_EQ(park({1, 4}), step);
  EXPECT_THAT(numbers(told_in({1, 4}, step, 0)), SizeIs(std::min<std::uint64_t>(step, 5000)));
  leave({1, 5});
}

TEST_F(LedByAnother, APullThatIsBrokenOffLeavesWhatItKnowsOfItsStep) {
  const std::uint64_t step = park({1, 2});
  ChannelContext context;
  const auto holder = bind_server(context, "ipc://" + daemon_.directory() + "/s-other");
  ASSERT_TRUE(holder);
  Poller poller;
  poller.watch(**holder, 1);
  daemon_.send(Assign{step + 1, {9}, {}, {}}, {1, 2});
  const auto asked = poller.wait(30000);
  ASSERT_TRUE(asked && !asked->empty()) << "it is to pull";
  EXPECT_EQ(park({1, 3}), step);
  const auto told = told_in({1, 3}, step, step - 1);
  ASSERT_EQ(told.size(), 1u);
  EXPECT_EQ(told[0].step, step);
  EXPECT_GT(told[0].seconds, 0);
  leave({1, 4});
}

// In the membership that comes its word on them may count no more.
TEST(DriverSession, TellsTheStepsThatItHasLedBeforeItParks) {
  PlayedDaemon daemon;
  RunningActor actor(daemon);
  ASSERT_TRUE(daemon.expect<ActorHello>());
  Welcome welcome = welcome_of(daemon, kLongSteps);
  welcome.lease_ms = 60000;
  daemon.send(welcome, {});
  ASSERT_TRUE(daemon.expect<Prepared>());
  ASSERT_TRUE(daemon.expect<Progress>());  // the next one by itself is due in a third of the lease
  start_group(daemon, {1, 1});
  ASSERT_TRUE(daemon.expect<EpochReport>());
  daemon.send(group_of_one(daemon), {1, 2});
  const auto parked = daemon.expect<Parked>();
  ASSERT_TRUE(parked);
  EXPECT_GT(parked->applied_step, 0u);
  EXPECT_EQ(daemon.told_in.size(), parked->applied_step);
  EXPECT_TRUE(daemon.told_in.contains({GroupEpoch{1, 1}, parked->applied_step}));
  daemon.send(Retire{}, {1, 2});
  EXPECT_TRUE(daemon.expect<Finished>());
  EXPECT_TRUE(actor.finish());
}

// Where steps that are made again have other bits, a state is the group's by step and lineage.
TEST(DriverSession, TakesNoStateOfAnotherLineageForTheGroups) {
  PlayedDaemon daemon;
  RunningActor actor(daemon);
  ASSERT_TRUE(daemon.expect<ActorHello>());
  daemon.send(welcome_of(daemon, endless_job() + kFastSums), {});
  ASSERT_TRUE(daemon.expect<Prepared>());
  start_group(daemon, {1, 1});
  ASSERT_TRUE(daemon.expect<Progress>());
  const auto park = [&](GroupEpoch epoch) {
    daemon.send(group_of_one(daemon), epoch);
    return daemon.expect<Parked>().value_or(Parked{});
  };
  const Parked first = park({1, 2});
  EXPECT_GT(first.applied_step, 0u);
  EXPECT_EQ(first.lineage, (GroupEpoch{1, 1}));
  EXPECT_FALSE(first.curvature.empty());
  daemon.send(Assign{first.applied_step, {0}, {}, {1, 1}}, {1, 2});
  ASSERT_TRUE(daemon.expect<Ready>());
  const Parked again = park({1, 3});  // it was not resumed: nobody has trained in it
  EXPECT_EQ(again.lineage, (GroupEpoch{1, 1}));
  EXPECT_EQ(again.applied_step, first.applied_step);
  daemon.send(Assign{first.applied_step, {}, {}, {1, 2}}, {1, 3});  // others have
  const auto lost = daemon.expect<StateLost>();
  ASSERT_TRUE(lost);
  EXPECT_EQ(lost->what, "the state of step " + std::to_string(first.applied_step));
  const Parked left_out = park({1, 4});
  EXPECT_EQ(left_out.applied_step, first.applied_step) << "what it had is whole";
  EXPECT_EQ(left_out.curvature, first.curvature);
  EXPECT_EQ(left_out.lineage, (GroupEpoch{1, 1}));
  daemon.steps.clear();
  daemon.send(Assign{first.applied_step, {0}, {}, {1, 1}}, {1, 4});
  ASSERT_TRUE(daemon.expect<Ready>());
  EXPECT_THAT(daemon.steps, SizeIs(1)) << "of others' line it knows none, and cannot say where theirs began";
  start_group(daemon, {1, 5});  // restores
  ASSERT_TRUE(daemon.expect<Progress>());
  EXPECT_EQ(park({1, 6}).lineage, (GroupEpoch{1, 5}));
  daemon.send(Retire{}, {1, 6});
  EXPECT_TRUE(daemon.expect<Finished>());
  EXPECT_TRUE(actor.finish());
}

// A group of one that trains, and a newcomer that follows it, each with its daemon.
class Joined : public ::testing::Test {
 protected:
  Member member(const PlayedDaemon& daemon, ActorId actor, std::uint32_t first, std::uint32_t last) const {
    const std::string base = "ipc://" + daemon.directory();
    return {actor, "n", base + "/p", first, last, base + "/s"};
  }
  void start_first() {
    for (PlayedDaemon* daemon : {&first_, &second_}) {
      ASSERT_TRUE(daemon->expect<ActorHello>());
      Welcome welcome = welcome_of(*daemon, job_);
      welcome.job_dir = first_.directory() + "/job";
      daemon->send(welcome, {});
      ASSERT_TRUE(daemon->expect<Prepared>());
    }
    start_group(first_, {1, 1});
    ASSERT_TRUE(first_.expect<Progress>());
  }
  void start() {
    start_first();
    order_ = {.number = 1,
              .source = 0,
              .newcomers = {1},
              .members = {member(first_, 0, 0, 4)},
              .future = {member(first_, 0, 0, 0), member(second_, 1, 0, 0)}};
    second_.send(order_, {1, 1});
    first_.send(order_, {1, 1});
    const auto warm = second_.expect<WarmedUp>();
    ASSERT_TRUE(warm);
    EXPECT_EQ(warm->gave_up, "");
    EXPECT_GT(warm->followed, 0u);
    EXPECT_EQ(second_.seen.back().epoch, GroupEpoch{}) << "it is in none yet";
  }
  // Who was told to pull what: the rest of the transition, and some training.
  void go_on(GroupEpoch epoch, std::uint64_t step, std::vector<ActorId> holders,
             std::vector<HeldCurvature> curvature) {
    Assign assign{step, std::move(holders), {}, lineage_};
    for (const HeldCurvature& held : curvature) assign.curvature.push_back({held.block, held.step, {0}});
    for (PlayedDaemon* daemon : {&first_, &second_}) daemon->send(assign, epoch);
    for (PlayedDaemon* daemon : {&first_, &second_}) ASSERT_TRUE(daemon->expect<Ready>());
    for (PlayedDaemon* daemon : {&first_, &second_}) daemon->send(Resume{}, epoch);
    for (PlayedDaemon* daemon : {&first_, &second_}) daemon->send(StopTraining{"test"}, epoch);
    const auto finished = first_.expect<Finished>();
    ASSERT_TRUE(finished);
    EXPECT_GT(finished->step, step);
    second_.send(Retire{}, epoch);
    EXPECT_TRUE(second_.expect<Finished>());
    EXPECT_TRUE(member_.finish());
    EXPECT_TRUE(newcomer_.finish());
    EXPECT_TRUE(second_.failures.empty());
  }

  PlayedDaemon first_, second_;
  RunningActor member_{first_, 0}, newcomer_{second_, 1};
  std::string job_ = kLongSteps;
  GroupEpoch lineage_;  // of the base step
  WarmUp order_;
};

TEST_F(Joined, ItFollowsToTheLastStepOfThePlannedChange) {
  start();
  Reconfigure both{.members = {member(first_, 0, 0, 2), member(second_, 1, 2, 4)}};
  both.planned = true;
  both.follows = {1, 1};
  second_.send(both, {1, 2});  // before the group has heard of it
  first_.send(both, {1, 2});
  const auto parked = first_.expect<Parked>(), newcomer = second_.expect<Parked>();
  ASSERT_TRUE(parked);
  ASSERT_TRUE(newcomer);
  EXPECT_EQ(newcomer->applied_step, parked->applied_step);
  go_on({1, 2}, parked->applied_step, {0}, parked->curvature);
}

// What it has followed to is of the lineage of those that it has followed.
TEST_F(Joined, ItFollowsIntoTheLineageOfTheGroup) {
  job_ += kFastSums;
  start();
  Reconfigure both{.members = {member(first_, 0, 0, 2), member(second_, 1, 2, 4)}};
  both.planned = true;
  both.follows = {1, 1};
  for (PlayedDaemon* daemon : {&first_, &second_}) daemon->send(both, {1, 2});
  const auto parked = first_.expect<Parked>(), newcomer = second_.expect<Parked>();
  ASSERT_TRUE(parked);
  ASSERT_TRUE(newcomer);
  lineage_ = {1, 1};
  EXPECT_EQ(parked->lineage, lineage_);
  EXPECT_EQ(newcomer->lineage, lineage_);
  EXPECT_EQ(newcomer->applied_step, parked->applied_step);
  go_on({1, 2}, parked->applied_step, {0}, parked->curvature);
}

// The one who made it may be gone before it has.
TEST_F(Joined, WhoHasPulledAStepTellsItButForWhatIsItsMakersOwn) {
  job_ = endless_job();
  start_first();
  while (first_.steps.empty()) ASSERT_TRUE(first_.expect<EpochReport>());
  const Reconfigure both{.members = {member(first_, 0, 0, 2), member(second_, 1, 2, 4)}};
  for (PlayedDaemon* daemon : {&first_, &second_}) daemon->send(both, {1, 2});
  const auto parked = first_.expect<Parked>();
  ASSERT_TRUE(parked && second_.expect<Parked>());
  go_on({1, 2}, parked->applied_step, {0}, parked->curvature);
  const auto of_base = [&](const StepMetrics& step) { return step.step == parked->applied_step; };
  const auto made = std::ranges::find_if(first_.steps, of_base);
  ASSERT_NE(made, first_.steps.end());
  ASSERT_EQ(second_.steps.size(), 1u) << "it leads no step";
  StepMetrics pulled = second_.steps.front();
  EXPECT_TRUE(of_base(pulled));
  EXPECT_EQ(pulled.seconds, 0);
  EXPECT_GT(made->seconds, 0);
  pulled.seconds = made->seconds, pulled.bytes_sent = made->bytes_sent;
  pulled.fragment_bytes_sent = made->fragment_bytes_sent, pulled.curvature_bytes = made->curvature_bytes;
  pulled.refresh_seconds = made->refresh_seconds;
  EXPECT_EQ(encode(pulled), encode(*made));
}

// A newcomer may outlive all who have led the steps that it has followed.
TEST_F(Joined, ItTellsTheStepsThatItHasFollowed) {
  start();
  second_.steps.clear();
  const Reconfigure both{.members = {member(first_, 0, 0, 2), member(second_, 1, 2, 4)}};
  for (PlayedDaemon* daemon : {&first_, &second_}) daemon->send(both, {1, 2});
  const auto parked = first_.expect<Parked>();
  ASSERT_TRUE(parked && second_.expect<Parked>());
  go_on({1, 2}, parked->applied_step, {0}, parked->curvature);
  ASSERT_GT(second_.steps.size(), 1u);
  EXPECT_EQ(second_.steps.back().step, parked->applied_step);
  for (const StepMetrics& step : second_.steps) {
    EXPECT_EQ(step.seconds, 0);
    EXPECT_GT(step.lr, 0);
  }
}

// The change is left before it has come about: what it had followed is over all the same.
TEST_F(Joined, ItFollowsAnewWhenTheChangeIsLeft) {
  start();
  Reconfigure both{.members = {member(first_, 0, 0, 2), member(second_, 1, 2, 4)}};
  both.planned = true;
  both.follows = {1, 1};
  for (PlayedDaemon* daemon : {&first_, &second_}) daemon->send(both, {1, 2});
  for (PlayedDaemon* daemon : {&first_, &second_}) ASSERT_TRUE(daemon->expect<Parked>());
  start_group(first_, {1, 3}, false);
  order_.number = 2;
  second_.send(order_, {1, 3});
  first_.send(order_, {1, 3});
  const auto warm = second_.expect<WarmedUp>();
  ASSERT_TRUE(warm);
  EXPECT_EQ(warm->number, 2u);
  EXPECT_EQ(warm->gave_up, "");
  second_.send(Retire{}, {1, 3});
  EXPECT_TRUE(second_.expect<Finished>());
  first_.send(StopTraining{"test"}, {1, 3});
  EXPECT_TRUE(first_.expect<Finished>());
  EXPECT_TRUE(member_.finish());
  EXPECT_TRUE(newcomer_.finish());
}

// An unplanned change does not wait for it.
TEST_F(Joined, ItParksAtOnceWhenTheGroupDoes) {
  start();
  const Reconfigure both{.members = {member(first_, 0, 0, 2), member(second_, 1, 2, 4)}};
  second_.send(both, {1, 2});
  const auto newcomer = second_.expect<Parked>();
  ASSERT_TRUE(newcomer);
  first_.send(both, {1, 2});
  const auto parked = first_.expect<Parked>();
  ASSERT_TRUE(parked);
  EXPECT_LE(newcomer->applied_step, parked->applied_step);
  go_on({1, 2}, parked->applied_step, {0}, parked->curvature);
}

// It has followed a step that all members who had committed it have died with: what it has counts for
// nothing, and the group starts before it.
TEST_F(Joined, ItGoesBackToTheGroupsStep) {
  start();
  first_.send(Reconfigure{.members = {member(first_, 0, 0, 4)}, .restore = true}, {1, 2});
  const auto restored = first_.expect<Parked>();
  ASSERT_TRUE(restored);
  first_.send(Reconfigure{.members = {member(first_, 0, 0, 2), member(second_, 1, 2, 4)}}, {1, 3});
  second_.send(Reconfigure{.members = {member(first_, 0, 0, 2), member(second_, 1, 2, 4)}}, {1, 3});
  const auto parked = first_.expect<Parked>(), newcomer = second_.expect<Parked>();
  ASSERT_TRUE(parked);
  ASSERT_TRUE(newcomer);
  EXPECT_GT(newcomer->applied_step, parked->applied_step);
  go_on({1, 3}, parked->applied_step, {0}, parked->curvature);
}

// What the head asks for of an actor that holds less than the others.
TEST(DriverSession, SaysWhatStateIsLost) {
  PlayedDaemon daemon;
  RunningActor actor(daemon);
  ASSERT_TRUE(daemon.expect<ActorHello>());
  daemon.send(welcome_of(daemon), {});
  daemon.send(group_of_one(daemon), {1, 1});
  ASSERT_TRUE(daemon.expect<Parked>());
  daemon.send(Assign{4, {}}, {1, 1});
  const auto lost = daemon.expect<StateLost>();
  ASSERT_TRUE(lost);
  EXPECT_NE(lost->what.find("step 4"), std::string::npos) << lost->what;
  start_group(daemon, {1, 2});
  EXPECT_TRUE(daemon.expect<Finished>());
  EXPECT_TRUE(actor.finish());
}

// A holder that has heard of the next membership first refuses to serve this one: no reason to give up.
TEST(DriverSession, APullThatIsRefusedWaitsForTheNextMembership) {
  PlayedDaemon daemon;
  RunningActor actor(daemon);
  ASSERT_TRUE(daemon.expect<ActorHello>());
  Welcome welcome = welcome_of(daemon);
  daemon.send(welcome, {});
  const std::string endpoint = "ipc://" + daemon.directory() + "/holder";
  auto holder = BlobServer::open({.endpoint = endpoint, .token = "peers"});
  ASSERT_TRUE(holder);
  (*holder)->offer({1, 2}, {});
  Reconfigure members = group_of_one(daemon);
  members.leavers = {{1, "n", "ipc://" + daemon.directory() + "/nobody", 0, 0, endpoint}};
  daemon.send(members, {1, 1});
  ASSERT_TRUE(daemon.expect<Parked>());
  daemon.send(Assign{4, {1}}, {1, 1});
  while ((*holder)->counters().refused == 0) std::this_thread::yield();
  start_group(daemon, {1, 2});
  EXPECT_TRUE(daemon.expect<Finished>());
  EXPECT_TRUE(actor.finish());
}

TEST(DriverSession, APullThatIsRefusedInTheMembershipThatStaysFails) {
  PlayedDaemon daemon;
  RunningActor actor(daemon);
  ASSERT_TRUE(daemon.expect<ActorHello>());
  Welcome welcome = welcome_of(daemon);
  welcome.lease_ms = 20;
  daemon.send(welcome, {});
  const std::string endpoint = "ipc://" + daemon.directory() + "/holder";
  auto holder = BlobServer::open({.endpoint = endpoint, .token = "peers"});
  ASSERT_TRUE(holder);
  (*holder)->offer({1, 1}, {});
  Reconfigure members = group_of_one(daemon);
  members.leavers = {{1, "n", "ipc://" + daemon.directory() + "/nobody", 0, 0, endpoint}};
  daemon.send(members, {1, 1});
  ASSERT_TRUE(daemon.expect<Parked>());
  daemon.send(Assign{4, {1}}, {1, 1});
  const Status status = actor.finish();
  ASSERT_FALSE(status);
  EXPECT_NE(status.error().message.find("no holder can serve it"), std::string::npos);
}

// With an actor that is not there, over a link that is the test's.
class OverALink : public ::testing::Test {
 protected:
  void prepare(std::uint32_t lease_ms) {
    ASSERT_TRUE(other_);
    ASSERT_TRUE(daemon_.expect<ActorHello>());
    Welcome welcome = welcome_of(daemon_, std::string(kJob) + "exchange: nccl\n");
    welcome.lease_ms = lease_ms;
    daemon_.send(welcome, {});
    ASSERT_TRUE(daemon_.expect<Prepared>());
  }
  Reconfigure both() const {
    Reconfigure both = group_of_one(daemon_);
    both.members[0].last_micro = 2;
    both.members.push_back({1, "n", "ipc://" + daemon_.directory() + "/other", 2, 4, ""});
    for (Member& member : both.members) member.link = {22809, "GPU-" + std::to_string(member.actor)};
    return both;
  }
  void ends_alone(GroupEpoch epoch) {
    start_group(daemon_, epoch);
    EXPECT_TRUE(daemon_.expect<Finished>());
    EXPECT_TRUE(actor_.finish());
  }

  PlayedDaemon daemon_;
  // Takes what is sent to the other, so that nobody waits for that at the end.
  ChannelContext context_;
  Result<std::unique_ptr<ServerChannel>> other_ =
      bind_server(context_, "ipc://" + daemon_.directory() + "/other");
  RunningActor actor_{daemon_, 0, testing::played_link()};
};

// It comes at any time: also just before the link knows of the membership that is left.
TEST_F(OverALink, LeavesWhenANewMembershipIsAnnouncedWhileItJoins) {
  testing::link_play = testing::LinkPlay::kNobodyComes;
  prepare(200);
  constexpr std::uint64_t kTimes = 100;
  daemon_.send(both(), {1, 1});
  for (std::uint64_t i = 1; i <= kTimes; ++i) {
    ASSERT_TRUE(daemon_.expect<Parked>()) << i;
    daemon_.send(Assign{0, {}}, {1, i});
    if (i < kTimes) daemon_.send(both(), {1, i + 1});
  }
  ends_alone({1, kTimes + 1});
}

// One whose peer dies while the communicator forms may get any error of it; the daemon knows better.
TEST_F(OverALink, ALinkThatFailsWhileItJoinsWaitsForTheNextMembership) {
  testing::link_play = testing::LinkPlay::kFailsToOpen;
  prepare(2000);
  const int before = testing::link_failures;
  daemon_.send(both(), {1, 1});
  ASSERT_TRUE(daemon_.expect<Parked>());
  daemon_.send(Assign{0, {}}, {1, 1});
  while (testing::link_failures == before) std::this_thread::yield();
  ASSERT_TRUE(daemon_.expect<Progress>());
  ends_alone({1, 2});
}

TEST_F(OverALink, ALinkThatFailsInTheMembershipThatStaysFails) {
  testing::link_play = testing::LinkPlay::kFailsToOpen;
  prepare(20);
  daemon_.send(both(), {1, 1});
  ASSERT_TRUE(daemon_.expect<Parked>());
  daemon_.send(Assign{0, {}}, {1, 1});
  const Status status = actor_.finish();
  ASSERT_FALSE(status);
  EXPECT_NE(status.error().message.find(testing::kPlayedFailure), std::string::npos);
}

// A daemon that was started anew asks who is there; training goes on meanwhile.
TEST(DriverSession, SaysHelloAgainWhenAsked) {
  PlayedDaemon daemon;
  RunningActor actor(daemon);
  ASSERT_TRUE(daemon.expect<ActorHello>());
  const std::string job = endless_job();
  daemon.send(welcome_of(daemon, job), {});
  start_group(daemon, {1, 1});
  ASSERT_TRUE(daemon.expect<Progress>());
  daemon.send(HelloWanted{}, {});
  const auto hello = daemon.expect<ActorHello>();
  ASSERT_TRUE(hello);
  EXPECT_EQ(hello->token, "secret");
  EXPECT_EQ(hello->epoch, (GroupEpoch{1, 1}));
  EXPECT_NE(hello->activity, kIdle);
  daemon.send(welcome_of(daemon, job), {});
  const auto before = hello->applied_step;
  const auto again = daemon.expect<Progress>();
  ASSERT_TRUE(again);
  ASSERT_FALSE(again->steps.empty());
  EXPECT_EQ(again->steps.front().step, 1u) << "the daemon before may not have stored them";
  EXPECT_GE(again->steps.back().step, before);
  daemon.send(StopTraining{"test"}, {1, 1});
  const auto finished = daemon.expect<Finished>();
  ASSERT_TRUE(finished);
  EXPECT_GT(finished->step, before);
  EXPECT_TRUE(actor.finish());
}

}  // namespace
}  // namespace seng::driver_test
