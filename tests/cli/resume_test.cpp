// submit --resume and --init-from: which checkpoint, which specification.
#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "protocol/spec/job_spec.h"
#include "tests/cli/fake_daemon.h"

namespace seng::testing::resume_test {
namespace {

using ::testing::HasSubstr;

constexpr const char* kJob =
    "name: mine\nmodel: lenet\ndata: mnist\nbatch: {global: 64, micro: 8}\nsteps: 5\noptimizer: sgd\n";

// Takes every job, and knows job 3, which has a checkpoint.
class Resume : public ::testing::Test {
 protected:
  void SetUp() override {
    daemon_.on<VersionRequest, VersionReply>(
        [](const VersionRequest&) -> Result<VersionReply> { return VersionReply{}; });
    daemon_.on<SubmitRequest, SubmitReply>([this](const SubmitRequest& request) -> Result<SubmitReply> {
      submitted_ = request;
      return SubmitReply{running_job()};
    });
    daemon_.on<DescribeRequest, DescribeReply>(
        [this](const DescribeRequest& request) -> Result<DescribeReply> {
          if (request.job != "3" && request.job != "before")
            return fail(ErrorCode::kNotFound, "there is no job \"" + request.job + "\"");
          DescribeReply reply;
          reply.job = job_;
          reply.spec_yaml = std::string(kJob) + "seed: 77\ninitial: " + initial_ + "\n";
          return reply;
        });
  }
  // A directory with a manifest whose specification has the seed.
  void make_checkpoint(const std::string& below, int seed) {
    const std::string directory = dir_.path() + "/" + below;
    std::filesystem::create_directories(directory);
    std::ofstream(directory + "/manifest.json")
        << nlohmann::json{{"format", 1}, {"spec", kJob + ("seed: " + std::to_string(seed) + "\n")}};
  }
  CtlRun submit(std::vector<std::string> words) {
    submitted_ = {};
    words.insert(words.begin(), "submit");
    return ctl(daemon_, words,
               {.input = kJob, .environment = {{"HOME", "/home/u"}}, .working_directory = dir_.path()});
  }
  JobSpec spec() {
    const auto parsed = parse_job_spec(submitted_.spec_yaml, "submitted");
    EXPECT_TRUE(parsed) << submitted_.spec_yaml;
    return parsed ? *parsed : JobSpec{};
  }

  std::string initial_ = "{weights: /w}";  // of job 3
  FakeDaemon daemon_;
  TempDir dir_;
  JobRecord job_ = ended_job(JobState::kStopped);
  SubmitRequest submitted_;
};

TEST_F(Resume, TuneIsAShorthand) {
  ASSERT_EQ(submit({"-"}).code, ExitCode::kOk);
  EXPECT_FALSE(spec().engine_tune);
  ASSERT_EQ(submit({"-", "--tune"}).code, ExitCode::kOk);
  EXPECT_TRUE(spec().engine_tune);
}

TEST_F(Resume, AJobWithItsOwnSpecificationOrAnother) {
  for (const char* job : {"3", "before"}) {
    const CtlRun run = submit({"--resume", job, "--set", "actors=4", "--set", "steps=9", "--name", "again"});
    ASSERT_EQ(run.code, ExitCode::kOk) << run.err;
    EXPECT_EQ(spec().initial_checkpoint, "/state/jobs/3/checkpoints/step-00001172");
    EXPECT_EQ(spec().initial_weights, "");
    EXPECT_EQ(spec().seed, 77u);
    EXPECT_EQ(spec().actors_max, 4u);
    EXPECT_EQ(spec().steps, 9u);
    EXPECT_EQ(spec().name, "again");
    EXPECT_EQ(submitted_.source, "job 3");
    EXPECT_THAT(run.err,
                HasSubstr("submitted job 3 (fashion-lenet), which goes on from /state/jobs/3/check"));
  }
  ASSERT_EQ(submit({"-", "--resume", "3"}).code, ExitCode::kOk);
  EXPECT_EQ(spec().seed, 0u);  // the file's
  EXPECT_EQ(spec().initial_checkpoint, "/state/jobs/3/checkpoints/step-00001172");
  EXPECT_EQ(submitted_.source, "<stdin>");

  const CtlRun wrong = submit({"--resume", "3", "--set", "seed=x"});
  EXPECT_EQ(wrong.code, ExitCode::kUsage);
  EXPECT_THAT(wrong.err, HasSubstr("--set seed=x: seed"));
}

TEST_F(Resume, AJobThatCannotBe) {
  const CtlRun none = submit({"--resume", "other"});
  EXPECT_EQ(none.code, ExitCode::kNoSuchJob);
  EXPECT_EQ(none.err, "sengctl: there is no job \"other\"\n");
  std::filesystem::create_directory(dir_.path() + "/other");
  EXPECT_THAT(submit({"--resume", "other"}).err, HasSubstr("the directory is written ./other"));
  job_ = running_job();
  EXPECT_THAT(submit({"--resume", "3"}).err, HasSubstr("has no checkpoint: it is running at step 550"));
  job_ = ended_job(JobState::kFailed);
  job_.checkpoint.clear();
  EXPECT_THAT(submit({"--resume", "3"}).err, HasSubstr("has no checkpoint: it has failed at step"));
  job_ = running_job();
  job_.checkpoint = "/c";
  EXPECT_THAT(submit({"--resume", "3"}).err, HasSubstr("note: job 3 (fashion-lenet) goes on"));
  daemon_.stop();
  EXPECT_EQ(submit({"--resume", "3"}).code, ExitCode::kNoDaemon);
}

TEST_F(Resume, AJobThatWasStoppedBeforeItsFirstStepGoesOnWhereItBegan) {
  job_ = ended_job(JobState::kStopped);
  job_.checkpoint.clear();
  initial_ = "{checkpoint: /state/jobs/2/checkpoints/step-00000040}";
  const CtlRun run = submit({"--resume", "3"});
  EXPECT_EQ(run.code, ExitCode::kOk) << run.err;
  EXPECT_EQ(spec().initial_checkpoint, "/state/jobs/2/checkpoints/step-00000040");
  EXPECT_EQ(spec().seed, 77u);
}

TEST_F(Resume, ADirectoryOfAnyKind) {
  make_checkpoint("job/checkpoints/step-00000009", 9);
  make_checkpoint("job/checkpoints/step-00000010", 10);
  make_checkpoint("job/checkpoints/.step-00000011.staging", 11);
  make_checkpoint("job/checkpoints/step-x", 12);
  std::filesystem::create_directory(dir_.path() + "/job/checkpoints/step-00000012");  // no manifest
  const std::string base = dir_.path() + "/job/checkpoints/step-000000";
  const struct {
    std::string from, checkpoint;
    std::uint64_t seed;
  } cases[] = {
      {"./job", base + "10", 10},
      {"job/checkpoints/", base + "10", 10},
      {dir_.path() + "/job/checkpoints", base + "10", 10},
      {"job/checkpoints/step-00000009", base + "09", 9},
  };
  for (const auto& c : cases) {
    const CtlRun run = submit({"--resume", c.from});
    ASSERT_EQ(run.code, ExitCode::kOk) << c.from << run.err;
    EXPECT_EQ(spec().initial_checkpoint, c.checkpoint) << c.from;
    EXPECT_EQ(spec().seed, c.seed) << c.from;
    EXPECT_EQ(submitted_.source, c.checkpoint + "/manifest.json");
  }
  EXPECT_EQ(daemon_.count(MessageKind::kDescribeRequest), 0);
}

TEST_F(Resume, ADirectoryThatIsNone) {
  const auto refused = [&](const std::string& from, const std::string& said) {
    const CtlRun run = submit({"--resume", from});
    EXPECT_EQ(run.code, ExitCode::kUsage) << from;
    EXPECT_THAT(run.err, HasSubstr(said)) << from;
    EXPECT_EQ(submitted_.spec_yaml, "") << from;
  };
  refused(".", "there is no checkpoint in " + dir_.path());
  refused("~/x", "there is no checkpoint in /home/u/x");
  std::filesystem::create_directory(dir_.path() + "/step-1");
  for (const char* manifest : {"", "{", "[]", "{}", R"({"spec": 3})"}) {
    std::ofstream(dir_.path() + "/step-1/manifest.json") << manifest;
    refused("./step-1", "step-1/manifest.json: no text \"spec\"");
  }
  std::ofstream(dir_.path() + "/step-1/manifest.json") << R"({"spec": "name: x\n"})";
  refused("./step-1", "step-1/manifest.json:1:1: model: missing");
}

TEST_F(Resume, WeightsFromAFile) {
  ASSERT_EQ(submit({"-", "--init-from", "w.safetensors", "--set", "initial.checkpoint=/c"}).code,
            ExitCode::kOk);
  EXPECT_EQ(spec().initial_weights, dir_.path() + "/w.safetensors");
  EXPECT_EQ(spec().initial_checkpoint, "");
  ASSERT_EQ(submit({"-", "--set", "initial.weights=~/w"}).code, ExitCode::kOk);
  EXPECT_EQ(spec().initial_weights, "/home/u/w");
  EXPECT_EQ(submit({"--init-from", "w.safetensors"}).code, ExitCode::kUsage);
}

}  // namespace
}  // namespace seng::testing::resume_test
