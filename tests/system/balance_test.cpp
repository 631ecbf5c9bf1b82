// Jobs that share a machine unevenly: slow actors, ends that wait for a disk, jobs that make room for more
// urgent ones. The bits at the end are those of the undisturbed run.
#include <atomic>
#include <chrono>
#include <fstream>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>

#include "tests/support/cluster.h"

namespace seng::testing::balance_test {
namespace {

using ::testing::HasSubstr;
using Json = nlohmann::json;

constexpr const char* kSeng =
    "{name: seng, lr: 0.05, momentum: 0.9, weight_decay: 0.0005, damping: 0.5, trust_region: 0.01, "
    "curvature: {every: 10, samples: 16}}";

// Loses nine tenths of its time in small pieces, as on a machine that is busy with something else, until this
// ends: more than what other tests beside this one take from an actor.
class Slowed {
 public:
  explicit Slowed(pid_t pid) : thread_([this, pid] { pulse(pid); }) {}
  ~Slowed() {
    done_ = true;
    thread_.join();
  }

 private:
  void pulse(pid_t pid) {
    while (!done_) {
      kill(pid, SIGSTOP);
      std::this_thread::sleep_for(std::chrono::milliseconds(54));
      kill(pid, SIGCONT);
      std::this_thread::sleep_for(std::chrono::milliseconds(6));
    }
  }
  std::atomic<bool> done_{false};
  std::thread thread_;
};

class Balance : public ::testing::Test {
 protected:
  Balance() : cluster_(2, {"--lease", "0.3"}) {}
  void SetUp() override { ASSERT_TRUE(cluster_.started()) << cluster_.start_error(); }

  std::string undisturbed(const JobText& job) {
    const Json result = cluster_.train(to_text(job), {"name=undisturbed"});
    EXPECT_EQ(result.value("state", ""), "succeeded") << cluster_.last().err;
    return result.value("state_sha256", "");
  }
  void submit(const JobText& job, const std::vector<std::string>& sets) {
    std::vector<std::string> command = {"submit", "-"};
    for (const std::string& set : sets) command.insert(command.end(), {"--set", set});
    const RunResult submitted = cluster_.ctl(command, {.input = to_text(job)});
    ASSERT_EQ(submitted.exit_code, 0) << submitted.err;
  }
  std::string events(const std::string& job) { return cluster_.ctl({"events", job}).out; }
  bool event_comes(const std::string& job, const std::string& kind) {
    return cluster_.wait_until(job, [&](const Json&) { return events(job).find(kind) != std::string::npos; });
  }
  void finish(const std::string& job, const std::string& expected) {
    const RunResult waited = cluster_.ctl({"wait", job, "--timeout", "120"}, {.timeout_seconds = 130});
    ASSERT_EQ(waited.exit_code, 0) << waited.err << events(job);
    EXPECT_EQ(cluster_.status(job).value("state_sha256", ""), expected);
  }

  Cluster cluster_;
};

TEST_F(Balance, ASlowActorGetsASmallerRange) {
  JobText job;
  job.global = 128;
  job.steps = 100000;  // it is stopped
  job.optimizer = kSeng;
  submit(job, {"name=slow", "actors={min: 2, max: 2, lanes: 1}"});
  ASSERT_TRUE(cluster_.wait_until("slow", [](const Json& now) { return now.value("steps", 0u) >= 2; }));
  auto actors = cluster_.actors("slow");
  ASSERT_EQ(actors.size(), 2u);
  {
    // On a busy machine the other one may look slow at first, or this one be missed for a lease.
    const Slowed slowed(actors[1].at("pid").get<pid_t>());
    const auto has_less = [&] {
      actors = cluster_.actors("slow");
      if (actors.size() != 2) return false;
      const auto cut = actors[0].value("last_micro", 0u);
      return cut >= 10 && cut < 16 && actors[1].value("first_micro", 0u) == cut &&
             actors[1].value("last_micro", 0u) == 16;
    };
    ASSERT_TRUE(cluster_.wait_until("slow", [&](const Json&) { return has_less(); })) << events("slow");
  }
  const std::string later = std::to_string(cluster_.status("slow").value("steps", 0u) + 20);
  ASSERT_EQ(
      cluster_.ctl({"wait", "slow", "--step", later, "--timeout", "120"}, {.timeout_seconds = 130}).exit_code,
      0);
  ASSERT_EQ(cluster_.ctl({"stop", "--wait", "slow", "--timeout", "120"}, {.timeout_seconds = 130}).exit_code,
            0);
  const Json stopped = cluster_.status("slow");
  EXPECT_EQ(stopped.value("state", ""), "stopped") << events("slow");
  EXPECT_EQ(stopped.value("restarts", -1), 0) << events("slow");
  job.steps = stopped.value("steps", 0);
  EXPECT_EQ(stopped.value("state_sha256", "?"), undisturbed(job)) << job.steps << " steps";
  EXPECT_TRUE(cluster_.stop().empty());
}

TEST_F(Balance, AnEndWaitsForTheDisk) {
  JobText job;
  job.steps = 20;
  job.optimizer = kSeng;
  const std::string expected = undisturbed(job);
  submit(job, {"name=full", "actors={min: 2, max: 2, lanes: 1}"});
  // A file where a directory must be.
  const std::string directory = cluster_.state_dir() + "/jobs/2", blocker = directory + "/checkpoints";
  mkdir(directory.c_str(), 0700);
  std::ofstream(blocker) << "in the way";
  ASSERT_TRUE(cluster_.wait_until("full", [&](const Json&) {
    const std::string said = events("full");
    return said.find("CheckpointFailed") != said.rfind("CheckpointFailed");
  })) << events("full");
  // While it tries again the reason is gone for a moment.
  Json waiting;
  ASSERT_TRUE(cluster_.wait_until("full", [&](const Json& now) {
    waiting = now;
    return now.value("reason", "").find("its last checkpoint cannot be written: step 20: ") !=
           std::string::npos;
  })) << waiting.dump();
  EXPECT_EQ(waiting.value("state", ""), "running");
  EXPECT_EQ(waiting.value("steps", 0u), 20u);
  ASSERT_EQ(unlink(blocker.c_str()), 0);
  finish("full", expected);
  EXPECT_EQ(cluster_.status("full").value("restarts", -1), 0);
  EXPECT_TRUE(cluster_.stop().empty());
}

TEST_F(Balance, AMoreUrgentJobGoesFirst) {
  JobText job;
  job.steps = 150;
  job.optimizer = kSeng;
  const std::string expected = undisturbed(job);
  submit(job, {"name=patient", "actors={min: 2, max: 2, lanes: 1}"});
  ASSERT_TRUE(cluster_.wait_until("patient", [](const Json& now) { return now.value("steps", 0u) >= 2; }));
  submit(job, {"name=urgent", "priority=3", "steps=20"});
  // Seen while the other one starts, which takes longer than to look: it may be over before one looks again.
  Json waits;
  ASSERT_TRUE(cluster_.wait_until("patient", [&](const Json& now) {
    waits = now;
    return now.value("state", "") == "queued";
  })) << events("patient");
  EXPECT_THAT(waits.value("reason", ""),
              HasSubstr("made room for job 3, which has a higher priority; goes on from"));
  finish("patient", expected);
  EXPECT_EQ(cluster_.status("urgent").value("state", ""), "succeeded");
  EXPECT_TRUE(cluster_.stop().empty());
}

}  // namespace
}  // namespace seng::testing::balance_test
