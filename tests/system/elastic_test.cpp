// Jobs whose actors come, go, hang and are killed: the bits at the end are those of the undisturbed run.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <map>
#include <optional>
#include <set>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include "tests/support/cluster.h"

namespace seng::testing::elastic_test {
namespace {

using Json = nlohmann::json;

constexpr const char* kSgd = "{name: sgd, lr: 0.05, momentum: 0.9, weight_decay: 0.0005}";
constexpr const char* kSeng =
    "{name: seng, lr: 0.05, momentum: 0.9, weight_decay: 0.0005, damping: 0.5, trust_region: 0.01, "
    "curvature: {every: 7, samples: 16}}";

// Its factors' running means and its damping are state, which moves with the membership. The job goes on long
// after it has learnt its data by heart: without a bound the damping would fall until a step blows up.
constexpr const char* kKfac =
    "{name: kfac, lr: 0.05, momentum: 0.9, damping: {initial: 0.5, adaptive: {every: 4, min: 0.05}}, "
    "trust_region: "
    "0.01, "
    "curvature: {every: 3, samples: 16, inverse_every: 2}}";
constexpr const char* kSmall =
    "{layers: [{name: conv, type: conv2d, channels: 8, stride: 2, padding: 1}, {name: bn, type: batch_norm}, "
    "{name: relu, type: relu}, {name: pool, type: max_pool, kernel: 4}, {name: flat, type: flatten}, "
    "{name: fc1, type: linear, features: 20}, {name: fc2, type: linear, features: 10}]}";

JobText elastic_job(const char* optimizer, int steps) {
  JobText job;
  job.data = "{name: synthetic, train: 1000, test: 50, channels: 1, height: 28, width: 28, classes: 10}";
  job.optimizer = optimizer;
  job.steps = steps;
  job.extra = "checkpoint: {every_steps: 25, keep: 2}\nledger: true\n";
  return job;
}

class Elastic : public ::testing::Test {
 protected:
  explicit Elastic(int slots = 5, std::vector<std::string> options = {})
      : cluster_(slots, std::move(options)) {}
  void SetUp() override { ASSERT_TRUE(cluster_.started()) << cluster_.start_error(); }

  // The state of the undisturbed run, in one actor.
  std::string undisturbed(const JobText& job) {
    const Json result = cluster_.train(to_text(job), {"name=undisturbed"});
    EXPECT_EQ(result.value("state", ""), "succeeded") << cluster_.last().err;
    return result.value("state_sha256", "");
  }
  void submit(const JobText& job, int min, int max) {
    const std::string actors = "actors={min: " + std::to_string(min) + ", max: " + std::to_string(max) + "}";
    const RunResult submitted = cluster_.ctl({"submit", "-", "--set", actors}, {.input = to_text(job)});
    ASSERT_EQ(submitted.exit_code, 0) << submitted.err;
  }
  bool committed(std::uint64_t step) {
    return cluster_
               .ctl({"wait", kJob, "--step", std::to_string(step), "--timeout", "120"},
                    {.timeout_seconds = 130})
               .exit_code == 0;
  }
  std::uint64_t steps() { return cluster_.status(kJob).value("steps", 0u); }
  // Until the membership has so many actors, and has committed a step.
  bool has_actors(unsigned count) {
    if (!cluster_.wait_until(kJob, [&](const Json& job) {
          return job.value("state", "") == "running" && job.value("actors", 0u) == count;
        }))
      return false;
    return committed(steps() + 1);
  }
  bool event_comes(const std::string& kind) {
    return cluster_.wait_until(kJob, [&](const Json&) { return events().contains(kind); });
  }
  std::vector<Json> event_list() {
    const Json all = Json::parse(cluster_.ctl({"events", kJob, "-o", "json"}).out, nullptr, false);
    return all.is_object() ? all.at("events").get<std::vector<Json>>() : std::vector<Json>{};
  }
  std::map<std::string, int> events() {
    std::map<std::string, int> kinds;
    for (const Json& event : event_list()) ++kinds[event.at("kind")];
    return kinds;
  }
  // How many steps `metrics` shows, from the first one on without a gap.
  std::uint64_t steps_told() {
    const Json metrics = Json::parse(cluster_.ctl({"metrics", kJob, "-o", "json"}).out, nullptr, false);
    if (!metrics.is_object()) return 0;
    std::uint64_t last = 0;
    for (const Json& step : metrics.at("steps")) {
      if (step.at("step") != last + 1) break;
      ++last;
    }
    return last;
  }
  std::map<unsigned, pid_t> pids() {
    std::map<unsigned, pid_t> out;
    for (const Json& actor : cluster_.actors(kJob)) out[actor.at("actor")] = actor.at("pid");
    return out;
  }
  // To the end, and what must hold there.
  void finish(const std::string& expected) {
    const RunResult waited = cluster_.ctl({"wait", kJob, "--timeout", "180"}, {.timeout_seconds = 200});
    const Json job = cluster_.status(kJob);
    ASSERT_EQ(waited.exit_code, 0) << waited.err << job.dump() << cluster_.ctl({"events", kJob}).out;
    EXPECT_EQ(job.value("state_sha256", ""), expected);
    check_ledger(job);
    EXPECT_TRUE(cluster_.stop().empty());
  }
  // Stops a job that has gone on for a while behind what has disturbed it; how it stands then.
  Json stopped_here() {
    EXPECT_TRUE(committed(steps() + kStepsBehind)) << cluster_.ctl({"events", kJob}).out;
    const RunResult stopped =
        cluster_.ctl({"stop", "--wait", kJob, "--timeout", "180"}, {.timeout_seconds = 200});
    const Json job = cluster_.status(kJob);
    EXPECT_EQ(job.value("state", ""), "stopped") << stopped.err << cluster_.ctl({"events", kJob}).out;
    return job;
  }
  // How many steps it takes to disturb a job is the machine's to say; an undisturbed run of as many has its
  // bits.
  void finish_as(const Json& stopped, JobText job) {
    job.steps = stopped.value("steps", 0);
    EXPECT_EQ(stopped.value("state_sha256", "?"), undisturbed(job)) << job.steps << " steps";
    check_ledger(stopped);
    EXPECT_TRUE(cluster_.stop().empty());
  }
  void finish_here(const JobText& job) { finish_as(stopped_here(), job); }
  void check_ledger(const Json& job) {
    const RunResult ledger = run({"python3", std::string(SENG_SOURCE_DIR) + "/scripts/check_ledger.py",
                                  cluster_.state_dir() + "/jobs/" + job.at("id").dump()});
    EXPECT_EQ(ledger.exit_code, 0) << ledger.out << ledger.err;
  }

  static constexpr const char* kJob = "test";
  static constexpr int kManySteps = 100000;  // of a job that is stopped: more than it ever comes to
  static constexpr std::uint64_t kStepsBehind =
      30;  // more than from checkpoint to checkpoint, and four refreshes
  Cluster cluster_;
};

class Resized : public Elastic, public ::testing::WithParamInterface<const char*> {};

TEST_P(Resized, UpAndDownInTheSameProcesses) {
  JobText job = elastic_job(GetParam(), kManySteps);
  if (GetParam() == kKfac) job.model = kSmall;
  submit(job, 1, 1);
  ASSERT_TRUE(has_actors(1));
  std::map<unsigned, pid_t> before = pids();
  for (const unsigned count : {4u, 2u, 5u, 3u, 1u}) {
    const RunResult scaled = cluster_.ctl({"scale", kJob, std::to_string(count)});
    ASSERT_EQ(scaled.exit_code, 0) << scaled.err;
    ASSERT_TRUE(has_actors(count)) << count << cluster_.status(kJob).dump()
                                   << cluster_.ctl({"events", kJob}).out;
    const std::map<unsigned, pid_t> now = pids();
    for (const auto& [actor, pid] : now) {
      if (before.contains(actor)) {
        EXPECT_EQ(before.at(actor), pid);
      }
    }
    EXPECT_EQ(now.begin()->first, 0u);  // the leader stays
    before = now;
  }
  EXPECT_EQ(cluster_.status(kJob).value("restarts", -1), 0);
  finish_here(job);
}
// Every second step's refresh takes effect in the one behind it: half of all changes come between the two.
constexpr const char* kSengLater =
    "{name: seng, lr: 0.05, momentum: 0.9, weight_decay: 0.0005, damping: 0.5, trust_region: 0.01, "
    "curvature: {every: 2, samples: 16, overlap: true, dtype: bf16, fragment_dtype: bf16}}";
std::string name_of(const ::testing::TestParamInfo<const char*>& info) {
  return info.param == kSgd    ? "Sgd"
         : info.param == kSeng ? "Seng"
         : info.param == kKfac ? "Kfac"
                               : "SengLater";
}
INSTANTIATE_TEST_SUITE_P(Optimizers, Resized, ::testing::Values(kSgd, kSeng, kSengLater, kKfac), name_of);

// The same, with everything that may come between: members that are killed, and another daemon.
class Disturbed : public Resized {};

TEST_P(Disturbed, ByKillsAndAnotherDaemonInBetween) {
  const JobText job = elastic_job(GetParam(), kManySteps);
  submit(job, 1, 1);
  ASSERT_TRUE(has_actors(1));
  unsigned restarts = 0;
  for (const unsigned count : {4u, 2u, 5u, 3u, 1u}) {
    ASSERT_EQ(cluster_.ctl({"scale", kJob, std::to_string(count)}).exit_code, 0);
    ASSERT_TRUE(has_actors(count)) << count << cluster_.ctl({"events", kJob}).out;
    if (count == 2) {
      cluster_.kill_daemon();
      ASSERT_TRUE(cluster_.start()) << cluster_.start_error();
      ASSERT_TRUE(has_actors(2)) << cluster_.ctl({"events", kJob}).out;
    } else if (count > 3) {
      kill(count == 4 ? pids().rbegin()->second : pids().begin()->second, SIGKILL);  // 5: the leader
      ++restarts;
      ASSERT_TRUE(cluster_.wait_until(kJob, [&](const Json& now) {
        return now.value("restarts", 0u) >= restarts && now.value("actors", 0u) == count;
      })) << cluster_.ctl({"events", kJob}).out;
    }
  }
  finish_here(job);
}
INSTANTIATE_TEST_SUITE_P(Optimizers, Disturbed, ::testing::Values(kSgd, kSeng), name_of);

// A newcomer pulls and follows while the others commit steps; when they stop for it, it lacks nothing. (With
// curvature it may lack what the last step has renewed.)
TEST_F(Elastic, ANewcomerCatchesUpWhileTheGroupTrains) {
  const JobText job = elastic_job(kSgd, kManySteps);
  submit(job, 1, 1);
  ASSERT_TRUE(has_actors(1));
  for (const unsigned count : {2u, 3u}) {
    ASSERT_EQ(cluster_.ctl({"scale", kJob, std::to_string(count)}).exit_code, 0);
    ASSERT_TRUE(has_actors(count)) << cluster_.ctl({"events", kJob}).out;
    // Events reach the store a little later than the status.
    const std::vector<std::string> wanted = {"WarmingUp", "WarmedUp", "Reconfigured", "Joining"};
    std::vector<std::string> seen;
    const auto joined = [&] {
      seen.clear();
      for (const Json& event : event_list()) {
        const bool of_newcomer = event.at("actor") == count - 1;
        if (of_newcomer || event.at("kind") == "Reconfigured") seen.push_back(event.at("kind"));
      }
      seen.erase(seen.begin(), std::ranges::find(seen, "WarmingUp"));
      return seen == wanted;
    };
    EXPECT_TRUE(cluster_.wait_until(kJob, [&](const Json&) { return joined(); }))
        << ::testing::PrintToString(seen);
  }
  for (const Json& event : event_list()) {
    if (event.at("kind") != "Joining") continue;
    EXPECT_EQ(event.at("text"), "pulled 0.00 MB while the group waited");
  }
  finish_here(job);
}

// A warm-up that ends badly, on either side: it is forgotten, and begins again with whoever is there.
TEST_F(Elastic, ANewcomerOrItsSourceIsKilledInTheWarmUp) {
  JobText job = elastic_job(kSeng, 50);
  job.global = 512;  // steps that are long enough to be in the middle of a warm-up
  job.micro = 64;
  const std::string expected = undisturbed(job);
  submit(job, 1, 2);
  ASSERT_TRUE(has_actors(2));
  const auto warms_up = [&](int times) {
    return cluster_.wait_until(kJob, [&](const Json&) { return events()["WarmingUp"] >= times; });
  };
  ASSERT_EQ(cluster_.ctl({"scale", kJob, "3"}).exit_code, 0);
  ASSERT_TRUE(warms_up(1));
  kill(pids().rbegin()->second, SIGKILL);
  ASSERT_TRUE(warms_up(2)) << cluster_.ctl({"events", kJob}).out;
  kill(std::next(pids().begin())->second, SIGKILL);  // the source: not the leader
  ASSERT_TRUE(has_actors(3)) << cluster_.ctl({"events", kJob}).out;
  EXPECT_GE(cluster_.status(kJob).value("restarts", 0), 2);
  finish(expected);
}

class Killed : public Elastic, public ::testing::WithParamInterface<const char*> {};

TEST_P(Killed, ActorsAreReplaced) {
  const JobText job = elastic_job(GetParam(), kManySteps);
  submit(job, 1, 3);
  ASSERT_TRUE(has_actors(3));
  // Whoever it is: the leader (the lowest number) the first time.
  for (int round = 0; round < 3; ++round) {
    const auto living = pids();
    ASSERT_FALSE(living.empty());
    kill(round % 2 == 0 ? living.begin()->second : living.rbegin()->second, SIGKILL);
    const auto restarts = static_cast<unsigned>(round) + 1;
    ASSERT_TRUE(cluster_.wait_until(kJob,
                                    [&](const Json& now) {
                                      return now.value("restarts", 0u) >= restarts &&
                                             now.value("actors", 0u) == 3;
                                    }))
        << cluster_.status(kJob).dump() << cluster_.ctl({"events", kJob}).out;
    ASSERT_TRUE(committed(steps() + 1));
  }
  finish_here(job);
}

// The checkpoints are of steps that refresh: with overlap, what waits is in them.
TEST_P(Killed, AllOfThemGoOnFromTheCheckpoint) {
  const JobText job = elastic_job(GetParam(), 120);
  const std::string expected = undisturbed(job);
  submit(job, 1, 3);
  ASSERT_TRUE(committed(60));
  for (const auto& [actor, pid] : pids()) kill(pid, SIGKILL);
  finish(expected);
}

INSTANTIATE_TEST_SUITE_P(Optimizers, Killed, ::testing::Values(kSeng, kSengLater), name_of);

TEST_F(Elastic, AStoppedActorIsEvictedAndComesBack) {
  const JobText job = elastic_job(kSeng, kManySteps);
  submit(job, 1, 3);
  ASSERT_TRUE(has_actors(3));
  const auto living = pids();
  const pid_t stopped = living.rbegin()->second;
  kill(stopped, SIGSTOP);
  // The others go on without it.
  ASSERT_TRUE(cluster_.wait_until(kJob, [&](const Json& now) { return now.value("actors", 0u) < 3; }));
  ASSERT_TRUE(committed(steps() + 3));
  kill(stopped, SIGCONT);
  ASSERT_TRUE(has_actors(3));
  EXPECT_EQ(pids().rbegin()->second, stopped);  // it was not replaced
  finish_here(job);
}

// Stands between the actors of a cluster and holds back what one says to another: scripts/bench/relay.py.
class Relay {
 public:
  explicit Relay(const std::string& state_dir) : answers_(dir_.path() + "/answers") {
    const std::string script = std::string(SENG_SOURCE_DIR) + "/scripts/bench/relay.py";
    commands_ = popen(("exec python3 " + script + " " + state_dir + " > " + answers_).c_str(), "w");
  }
  ~Relay() { pclose(commands_); }  // the end of its commands ends it
  Relay(const Relay&) = delete;
  Relay& operator=(const Relay&) = delete;

  // Its next line, "" if it is dead or none comes for long.
  std::string answer() {
    for (int i = 0; i < 3000; ++i) {
      std::ifstream in(answers_);
      std::string line;
      for (int read = 0; std::getline(in, line) && !in.eof(); ++read)
        if (read == taken_) return ++taken_, line;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return "";
  }
  std::string ask(const std::string& command) {
    std::fputs((command + "\n").c_str(), commands_);
    std::fflush(commands_);
    return answer();
  }

 private:
  TempDir dir_;
  std::string answers_;
  std::FILE* commands_ = nullptr;
  int taken_ = 0;
};

// For ever: everybody's heartbeats go on, and everybody waits. Who is not heard by another is found by what
// the members wait for, and goes.
TEST_F(Elastic, AOneWayCutEndsWithOneOfBoth) {
  const JobText job = elastic_job(kSeng, kManySteps);
  std::optional<Relay> relay(cluster_.state_dir());
  ASSERT_EQ(relay->answer(), "ready");
  submit(job, 1, 3);
  ASSERT_TRUE(has_actors(3));
  const std::string cut = relay->ask("cut 1 100000 steps");
  ASSERT_THAT(cut, ::testing::StartsWith("cut actor "));
  ASSERT_TRUE(event_comes("ActorLost")) << cut << cluster_.ctl({"events", kJob}).out;
  ASSERT_TRUE(has_actors(3)) << cut << cluster_.ctl({"events", kJob}).out;
  EXPECT_GE(cluster_.status(kJob).value("restarts", 0), 1);
  const Json stopped = stopped_here();
  EXPECT_EQ(relay->ask("end"), "ended");
  relay.reset();
  finish_as(stopped, job);
}

TEST_F(Elastic, ActorsOutliveTheDaemon) {
  const JobText job = elastic_job(kSeng, kManySteps);
  submit(job, 1, 2);
  ASSERT_TRUE(has_actors(2));
  const auto before = pids();
  const std::uint64_t step = steps();
  cluster_.kill_daemon();
  ASSERT_TRUE(cluster_.start()) << cluster_.start_error();
  ASSERT_TRUE(committed(step + 3));
  EXPECT_EQ(pids(), before);
  // What was done while no daemon ran, and what the one before had not stored, is told afterwards: any
  // actor's word moves the status, but the steps are the leader's, and reach the store a little later.
  ASSERT_TRUE(cluster_.wait_until(kJob, [&](const Json&) { return steps_told() > step; }))
      << cluster_.ctl({"events", kJob}).out;
  // It is the new daemon's group: it can be changed.
  ASSERT_EQ(cluster_.ctl({"scale", kJob, "3"}).exit_code, 0);
  ASSERT_TRUE(has_actors(3)) << cluster_.ctl({"events", kJob}).out;
  finish_here(job);
}

TEST_F(Elastic, EverythingKilledGoesOnFromTheCheckpoint) {
  const JobText job = elastic_job(kSeng, 120);
  const std::string expected = undisturbed(job);
  submit(job, 1, 2);
  ASSERT_TRUE(committed(60));
  const auto living = pids();
  cluster_.kill_daemon();
  for (const auto& [actor, pid] : living) kill(pid, SIGKILL);
  for (const auto& [actor, pid] : living) ASSERT_TRUE(wait_until_gone(pid, 30));
  ASSERT_TRUE(cluster_.start()) << cluster_.start_error();
  finish(expected);
}

}  // namespace
}  // namespace seng::testing::elastic_test
