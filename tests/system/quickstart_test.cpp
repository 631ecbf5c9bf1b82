// scripts/quickstart.sh in a tree of its own, with the real binaries and a job that only a signal ends: what
// it starts, it stops, whatever it is told; what it refuses leaves the run before untouched.
#include <csignal>
#include <filesystem>
#include <fstream>
#include <thread>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "protocol/base/file.h"
#include "tests/support/cluster.h"

namespace seng::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class Quickstart : public ::testing::Test {
 protected:
  void SetUp() override {
    fs::create_directories(tree() + "/scripts/jobs");
    fs::create_directories(tree() + "/build/release");
    fs::create_directory_symlink(SENG_BIN_DIR, tree() + "/build/release/bin");
    fs::copy_file(SENG_SOURCE_DIR "/scripts/quickstart.sh", script());
    for (const char* step : {"packages", "build"}) {
      const std::string path = tree() + "/scripts/" + step + ".sh";
      std::ofstream(path) << "#!/bin/sh\n";
      fs::permissions(path, fs::perms::owner_all);
    }
    JobText job;
    job.actors = 2;
    job.steps = 1'000'000;
    std::ofstream(tree() + "/scripts/jobs/fashion_lenet_seng.yaml") << to_text(job);
  }
  void TearDown() override {
    if (pid_ > 0) kill(-pid_, SIGKILL), waitpid(pid_, nullptr, 0);
    for (const pid_t left : processes_with(tree())) {
      ADD_FAILURE() << "process " << left << " is left";
      kill(left, SIGKILL);
    }
  }
  // In a process group of its own, as a terminal's foreground job.
  void start(const std::vector<std::string>& settings = {}) {
    std::vector<std::string> words = {"bash", script()};
    words.insert(words.end(), settings.begin(), settings.end());
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    const std::string path = tree() + "/said";
    pid_ = fork();
    if (pid_ == 0) {
      setpgid(0, 0);
      const int out = open(path.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
      dup2(out, 1);
      dup2(out, 2);
      execvp(argv[0], argv.data());
      _exit(127);
    }
    setpgid(pid_, pid_);
  }
  int exit_code() {
    EXPECT_TRUE(wait_until_gone(pid_, 60)) << said();
    int status = 0;
    if (waitpid(pid_, &status, WNOHANG) != pid_) return -1;
    pid_ = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }
  bool trains() {
    for (int i = 0; i < 600; ++i) {
      const RunResult shown = run({binary("sengctl"), "--state-dir", state(), "status", "1", "-o", "json"});
      const auto job = nlohmann::json::parse(shown.out, nullptr, false);
      if (job.is_object() && job.value("steps", 0) > 0) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    return false;
  }
  std::string said() const { return read_file(tree() + "/said", 1 << 20).value_or(""); }
  std::string tree() const { return dir_.path(); }
  std::string script() const { return tree() + "/scripts/quickstart.sh"; }
  std::string state() const { return tree() + "/build/quickstart/state"; }

  TempDir dir_;
  pid_t pid_ = 0;
};

TEST_F(Quickstart, WhatItRefusesLeavesTheRunBefore) {
  fs::create_directories(state());
  std::ofstream(state() + "/kept") << "x";
  const RunResult help = run({"bash", script(), "--help"});
  EXPECT_EQ(help.exit_code, 0);
  EXPECT_THAT(help.out, AllOf(HasSubstr("usage: scripts/quickstart.sh"), HasSubstr("replaces")));
  EXPECT_EQ(help.err, "");
  const struct {
    std::vector<std::string> words;
    const char* said;
  } cases[] = {{{"--bogus"}, "unknown option '--bogus'"},
               {{"--set"}, "--set needs"},
               {{"--set", "bogus=1"}, "bogus"},
               {{"--set", "batch.micro=7"}, "batch.micro"}};
  for (const auto& c : cases) {
    std::vector<std::string> command = {"bash", script()};
    command.insert(command.end(), c.words.begin(), c.words.end());
    const RunResult refused = run(command);
    EXPECT_EQ(refused.exit_code, 2) << c.said;
    EXPECT_THAT(refused.err, HasSubstr(c.said));
  }
  EXPECT_TRUE(fs::exists(state() + "/kept"));
}

TEST_F(Quickstart, ManyCtrlCStopAllThatWasStarted) {
  start();
  ASSERT_TRUE(trains()) << said();
  const pid_t group = pid_;
  std::thread presser([group] {
    for (int i = 0; i < 100 && kill(-group, SIGINT) == 0; ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
  });
  EXPECT_EQ(exit_code(), 130);
  presser.join();
  EXPECT_THAT(said(), AllOf(HasSubstr("stopping what was started"), HasSubstr("Stopped: nothing of it runs"),
                            Not(HasSubstr("goes on"))));
}

TEST_F(Quickstart, SigtermToTheScriptAloneStopsAllThatWasStarted) {
  start();
  ASSERT_TRUE(trains()) << said();
  kill(pid_, SIGTERM);
  EXPECT_EQ(exit_code(), 143);
  EXPECT_THAT(said(), HasSubstr("Stopped: nothing of it runs"));
}

TEST_F(Quickstart, TakesOverFromARunThatWasKilled) {
  start();
  ASSERT_TRUE(trains()) << said();
  EXPECT_EQ(run({"bash", script()}).exit_code, 1);  // another is running
  kill(pid_, SIGKILL);
  EXPECT_EQ(exit_code(), -SIGKILL);
  start({"--set", "steps=3"});
  EXPECT_EQ(exit_code(), 0) << said();
  EXPECT_THAT(said(), HasSubstr("Done. The trained network"));
  EXPECT_TRUE(fs::exists(tree() + "/build/quickstart/fashion_lenet.safetensors"));
}

}  // namespace
}  // namespace seng::testing
