// Jobs whose convolutions are measured first, on GPUs that are none. What the emulated cuDNN's algorithms
// take differs between the two GPUs, and so do the bits that they give: no two measurements agree by chance.
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include "tests/support/cluster.h"

namespace seng::testing {
namespace {

using Json = nlohmann::json;
using ::testing::HasSubstr;
using ::testing::Not;

JobText tuned_job(int steps) {
  JobText job;
  job.model =
      "{layers: [{name: conv1, type: conv2d, channels: 4, kernel: 3, padding: 1}, {name: relu, type: relu}, "
      "{name: conv2, type: conv2d, channels: 4, kernel: 3, padding: 1}, {name: flat, type: flatten}, "
      "{name: fc, type: linear, features: 10}]}";
  job.data = "{name: synthetic, train: 64, test: 4, channels: 2, height: 8, width: 8, classes: 10}";
  job.global = 8;
  job.micro = 2;
  job.steps = steps;
  job.extra = "checkpoint: {every_steps: 3}\nevaluate: {every_epochs: 0}\n";
  return job;
}

class TunedOnEmulatedGpus : public ::testing::Test {
 protected:
  TunedOnEmulatedGpus() {
    setenv("SENG_FAKE_GPUS", "GPU-a|Emulated GPU|16384|0|-;GPU-b|Emulated GPU|16384|0|-", 1);
    setenv("SENG_EMULATED_CUDNN_SLOW", "GPU-b", 1);
    setenv("SENG_EMULATED_CUDNN_HOLDS", hold_.c_str(), 1);
    cluster_ = std::make_unique<Cluster>(
        3, std::vector<std::string>{"--device", "cuda", "--actor-binary", SENG_BIN_DIR "/emulated/seng-actor",
                                    "--nvml-library", SENG_BIN_DIR "/modules/fake_nvml.so"});
  }
  ~TunedOnEmulatedGpus() override {
    for (const char* name : {"SENG_FAKE_GPUS", "SENG_EMULATED_CUDNN_SLOW", "SENG_EMULATED_CUDNN_HOLDS"})
      unsetenv(name);
  }
  void SetUp() override { ASSERT_TRUE(cluster_->started()) << cluster_->start_error(); }
  void TearDown() override { EXPECT_TRUE(cluster_->stop().empty()); }

  // The job's state at its end; submitted with these arguments beside.
  std::string state_of(int steps, const std::vector<std::string>& arguments) {
    std::vector<std::string> all = {"submit", "-", "--wait", "-o", "json"};
    all.insert(all.end(), arguments.begin(), arguments.end());
    const auto result = cluster_->ctl(all, {.input = to_text(tuned_job(steps)), .timeout_seconds = 200});
    EXPECT_EQ(result.exit_code, 0) << result.err;
    EXPECT_TRUE(slots_are_free());
    return Json::parse(result.out, nullptr, false).value("state_sha256", "");
  }
  // A job's end does not wait for its actors, and the next job is to have the first GPU as it had.
  bool slots_are_free() {
    const auto end = std::chrono::steady_clock::now() + std::chrono::minutes(1);
    while (std::chrono::steady_clock::now() < end) {
      bool all = true;
      for (const Json& node : Json::parse(cluster_->ctl({"nodes", "-o", "json"}).out).at("nodes"))
        for (const Json& slot : node.at("slots")) all = all && slot.at("actor").is_null();
      if (all) return true;
    }
    return false;
  }
  void submit(int steps, const std::string& actors) {
    const auto result = cluster_->ctl({"submit", "-", "--tune", "--set", "actors=" + actors},
                                      {.input = to_text(tuned_job(steps))});
    ASSERT_EQ(result.exit_code, 0) << result.err;
  }
  std::string end_of(const std::string& job) {
    const auto result = cluster_->ctl({"wait", job, "-o", "json"}, {.timeout_seconds = 200});
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return Json::parse(result.out, nullptr, false).value("state_sha256", "");
  }
  Json tuning(const std::string& job) {
    return Json::parse(cluster_->ctl({"describe", job, "-o", "json"}).out, nullptr, false).at("tuning");
  }
  std::vector<Json> events(const std::string& job, const std::string& kind) {
    std::vector<Json> out;
    const auto all = Json::parse(cluster_->ctl({"events", job, "-o", "json"}).out, nullptr, false);
    for (const Json& event : all.is_object() ? all.at("events") : all)
      if (event.at("kind") == kind) out.push_back(event);
    return out;
  }
  // Until somebody measures; its number, none if it has taken too long.
  std::optional<int> measurer(const std::string& job) {
    std::optional<int> found;
    cluster_->wait_until(job, [&](const Json&) {
      const auto asked = events(job, "Tuning");
      if (!asked.empty()) found = asked.back().at("actor").get<int>();
      return found.has_value();
    });
    return found;
  }

  TempDir dir_;
  std::string hold_ = dir_.path() + "/hold";  // while this file is there nobody comes to the end of measuring
  std::unique_ptr<Cluster> cluster_;
};

TEST_F(TunedOnEmulatedGpus, ComeToTheSameBitsByTheirChoicesAndNothingElse) {
  const std::string untuned = state_of(6, {});
  const std::string alone = state_of(6, {"--tune"});
  EXPECT_NE(alone, untuned) << "else no test would tell choices apart";
  const Json found = tuning("2");
  EXPECT_EQ(found.at("device"), "Emulated GPU");
  EXPECT_EQ(found.at("count"), 5);
  EXPECT_EQ(found.at("candidates"), 10);
  EXPECT_EQ(found.at("actor"), 0);
  EXPECT_DOUBLE_EQ(found.at("expected_ms"), 20);
  EXPECT_DOUBLE_EQ(found.at("chosen_ms"), 15);
  const std::string choices = found.at("choices");
  EXPECT_THAT(choices, HasSubstr("forward f32 nhwc 2x2x8x8 4x3x3 s1 p1 = 7"));
  EXPECT_THAT(choices, Not(HasSubstr("= 0"))) << "which is not deterministic";
  EXPECT_THAT(cluster_->ctl({"describe", "2"}).out,
              HasSubstr("5 choices for Emulated GPU, measured by actor 0"));
  ASSERT_EQ(events("2", "Tuned").size(), 1u);
  EXPECT_THAT(events("2", "Tuned")[0].at("text"), HasSubstr("(25.0 % less)"));

  // The second actor's GPU would measure otherwise.
  EXPECT_EQ(state_of(6, {"--tune", "--set", "engine.choices=" + choices, "--set", "actors=2"}), alone);
  EXPECT_TRUE(events("3", "Tuning").empty());
  EXPECT_EQ(tuning("3").at("choices"), choices);
  EXPECT_TRUE(tuning("3").at("actor").is_null());

  const std::string other = "Other" + choices.substr(choices.find(';'));
  EXPECT_EQ(state_of(6, {"--tune", "--set", "engine.choices=" + other, "--set", "actors=2"}), untuned);
  ASSERT_EQ(events("4", "ChoicesMissing").size(), 2u) << "each says so";
  EXPECT_THAT(events("4", "ChoicesMissing")[0].at("text"),
              HasSubstr("measured on Other, this is Emulated GPU"));
  EXPECT_TRUE(tuning("1").is_null());
}

TEST_F(TunedOnEmulatedGpus, ComeToTheSameBitsWhenActorsAreKilledAndCome) {
  submit(24, "3");
  ASSERT_TRUE(cluster_->wait_until("1", [](const Json& now) { return now.value("steps", 0) >= 2; }));
  const auto living = cluster_->actors("1");
  ASSERT_FALSE(living.empty());
  kill(living.back().at("pid").get<pid_t>(), SIGKILL);
  const std::string disturbed = end_of("1");
  EXPECT_EQ(events("1", "Tuning").size(), 1u);
  const std::string choices = tuning("1").at("choices");
  EXPECT_EQ(state_of(24, {"--tune", "--set", "engine.choices=" + choices}), disturbed);
}

TEST_F(TunedOnEmulatedGpus, AnotherMeasuresWhereTheFirstIsKilledAtIt) {
  std::ofstream(hold_) << "\n";
  submit(6, "3");
  const auto first = measurer("1");
  ASSERT_TRUE(first);
  for (const Json& actor : cluster_->actors("1"))
    if (actor.at("actor") == *first) kill(actor.at("pid").get<pid_t>(), SIGKILL);
  ASSERT_TRUE(cluster_->wait_until("1", [&](const Json&) { return events("1", "Tuning").size() == 2; }));
  EXPECT_TRUE(tuning("1").is_null());
  std::filesystem::remove(hold_);
  const std::string state = end_of("1");
  EXPECT_EQ(events("1", "Tuned").size(), 1u);
  const Json found = tuning("1");
  EXPECT_NE(found.at("actor"), *first);
  EXPECT_EQ(state_of(6, {"--tune", "--set", "engine.choices=" + found.at("choices").get<std::string>()}),
            state);
}

// By the daemon after a crash of everything, and by another job that goes on from a checkpoint.
TEST_F(TunedOnEmulatedGpus, AreNotMeasuredAgainWhenTheyResume) {
  const std::string undisturbed = state_of(24, {"--tune"});
  submit(24, "1");
  ASSERT_TRUE(cluster_->wait_until("2", [](const Json& now) { return now.value("steps", 0) >= 4; }));
  const auto living = cluster_->actors("2");
  cluster_->kill_daemon();
  for (const Json& actor : living) kill(actor.at("pid").get<pid_t>(), SIGKILL);
  for (const Json& actor : living) ASSERT_TRUE(wait_until_gone(actor.at("pid"), 30));
  ASSERT_TRUE(cluster_->start()) << cluster_->start_error();
  EXPECT_EQ(end_of("2"), undisturbed);
  EXPECT_EQ(events("2", "Tuning").size(), 1u);

  // Of 24 steps the checkpoints of 21 and 24 are kept.
  const std::string from = cluster_->state_dir() + "/jobs/1/checkpoints/step-00000021";
  const auto resumed = cluster_->ctl(
      {"submit", "--resume", from, "--set", "actors=3", "--wait", "-o", "json"}, {.timeout_seconds = 200});
  ASSERT_EQ(resumed.exit_code, 0) << resumed.err;
  EXPECT_EQ(Json::parse(resumed.out, nullptr, false).value("state_sha256", ""), undisturbed);
  EXPECT_TRUE(events("3", "Tuning").empty());
  EXPECT_EQ(tuning("3").at("choices"), tuning("1").at("choices"));

  const auto refused = cluster_->ctl({"submit", "--resume", from, "--set", "engine.tune=false"});
  EXPECT_NE(refused.exit_code, 0);
  EXPECT_THAT(refused.err, HasSubstr("engine.tune: true and false"));
}

}  // namespace
}  // namespace seng::testing
