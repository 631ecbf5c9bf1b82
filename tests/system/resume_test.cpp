// Jobs that go on from checkpoints: the state at the end is that of the undisturbed run.
#include <filesystem>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include "tests/support/cluster.h"

namespace seng::testing {
namespace {

using Json = nlohmann::json;
using ::testing::HasSubstr;

class Resumed : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(cluster_.started()) << cluster_.start_error();
    job_.optimizer =
        "{name: seng, lr: 0.05, momentum: 0.9, weight_decay: 0.0005, damping: 0.5, trust_region: 0.01, "
        "curvature: {every: 7, samples: 16}}";
    job_.steps = 150;
    job_.extra = "checkpoint: {every_steps: 30, keep: 3}\n";
    const Json result = cluster_.train(to_text(job_), {"name=undisturbed"});
    ASSERT_EQ(result.value("state", ""), "succeeded") << cluster_.last().err;
    expected_ = result.value("state_sha256", "");
  }
  void submit(int actors) {
    const std::string set = "actors=" + std::to_string(actors);
    const RunResult submitted = cluster_.ctl({"submit", "-", "--set", set}, {.input = to_text(job_)});
    ASSERT_EQ(submitted.exit_code, 0) << submitted.err;
  }
  Json resume(const std::string& from, int actors) {
    const RunResult run = cluster_.ctl({"submit", "--resume", from, "--name", "resumed", "--set",
                                        "actors=" + std::to_string(actors), "--wait", "-o", "json"},
                                       {.timeout_seconds = 200});
    EXPECT_EQ(run.exit_code, 0) << run.err;
    return Json::parse(run.out, nullptr, false);
  }
  // Of the job behind the undisturbed one.
  std::set<std::string> checkpoints() const {
    std::set<std::string> out;
    const auto dir = cluster_.state_dir() + "/jobs/2/checkpoints";
    std::error_code absent;
    for (const auto& entry : std::filesystem::directory_iterator(dir, absent)) {
      const std::string name = entry.path().filename();
      if (name.starts_with("step-")) out.insert(entry.path());
    }
    return out;
  }

  Cluster cluster_{3};
  JobText job_;
  std::string expected_;
};

TEST_F(Resumed, ByAnotherJobWithAnotherNumberOfActors) {
  submit(2);
  ASSERT_EQ(cluster_.ctl({"wait", "test", "--step", "65", "--timeout", "60"}).exit_code, 0);
  ASSERT_EQ(cluster_.ctl({"stop", "--wait", "test"}).exit_code, 0);
  const Json stopped = cluster_.status("test");
  ASSERT_EQ(stopped.value("state", ""), "stopped") << stopped.dump();
  ASSERT_LT(stopped.value("steps", 0), job_.steps) << "it was to end before its last step";
  EXPECT_NE(stopped.value("state_sha256", ""), expected_);
  const std::string oldest = *checkpoints().begin();
  for (const auto& [from, actors] : {std::pair<std::string, int>{"test", 3}, {oldest, 1}}) {
    SCOPED_TRACE(from);
    const Json result = resume(from, actors);
    EXPECT_EQ(result.value("state_sha256", ""), expected_) << result.dump();
    EXPECT_EQ(result.value("steps", 0), job_.steps);
    EXPECT_EQ(result.value("actors", 0), actors);
  }
  EXPECT_TRUE(cluster_.stop().empty());
}

// Everything is killed, and the newest checkpoint is damaged.
TEST_F(Resumed, FromTheCheckpointBeforeTheOneThatIsTruncated) {
  submit(2);
  ASSERT_TRUE(cluster_.wait_until("test", [&](const Json&) { return checkpoints().size() >= 2; }));
  const auto living = cluster_.actors("test");
  cluster_.kill_daemon();
  for (const Json& actor : living) kill(actor.at("pid"), SIGKILL);
  for (const Json& actor : living) ASSERT_TRUE(wait_until_gone(actor.at("pid"), 30));
  const auto newest = *checkpoints().rbegin();
  const std::string model = newest + "/model.safetensors";
  std::filesystem::resize_file(model, std::filesystem::file_size(model) - 1);
  ASSERT_TRUE(cluster_.start()) << cluster_.start_error();
  const RunResult waited =
      cluster_.ctl({"wait", "test", "-o", "json", "--timeout", "180"}, {.timeout_seconds = 200});
  ASSERT_EQ(waited.exit_code, 0) << waited.err;
  EXPECT_EQ(Json::parse(waited.out, nullptr, false).value("state_sha256", ""), expected_);
  const std::string events = cluster_.ctl({"events", "test"}).out;
  EXPECT_THAT(events, HasSubstr("CheckpointRefused"));
  EXPECT_THAT(events, HasSubstr(model)) << "by name";
  EXPECT_TRUE(cluster_.stop().empty());
}

}  // namespace
}  // namespace seng::testing
