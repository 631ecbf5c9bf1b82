// The real sengctl: exit codes, streams, pipes that break, disks that are full, signals.
#include <csignal>
#include <fstream>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/cli/fake_daemon.h"
#include "tests/support/process.h"

extern char** environ;

namespace seng::testing {
namespace {

using ::testing::HasSubstr;

const std::string kSengctl = SENG_BIN_DIR "/sengctl";

RunResult sengctl(std::vector<std::string> words, const RunOptions& options = {}) {
  words.insert(words.begin(), kSengctl);
  return run(words, options);
}

TEST(Binary, UsageUnknownVerbAndHelp) {
  EXPECT_EQ(sengctl({}).exit_code, 2);
  const RunResult unknown = sengctl({"lsit"});
  EXPECT_EQ(unknown.exit_code, 2);
  EXPECT_THAT(unknown.err, HasSubstr("did you mean \"list\"?"));
  const RunResult help = sengctl({"--help"});
  EXPECT_EQ(help.exit_code, 0);
  EXPECT_THAT(help.out, HasSubstr("usage: sengctl COMMAND"));
  EXPECT_EQ(help.err, "");
}

TEST(Binary, NoDaemonIsExitCode3) {
  const TempDir dir;
  for (const char* verb : {"list", "nodes", "status"}) {
    const RunResult result = sengctl({verb, "--state-dir", dir.path()});
    EXPECT_EQ(result.exit_code, 3);
    EXPECT_EQ(result.out, "");
    EXPECT_THAT(result.err, HasSubstr("sengd --state-dir " + dir.path()));
  }
}

TEST(Binary, TheStateDirectoryMayComeFromTheEnvironment) {
  FakeDaemon daemon;
  daemon.on<ListRequest, ListReply>([](const ListRequest&) -> Result<ListReply> { return ListReply{}; });
  RunOptions options;
  options.environment["SENG_STATE_DIR"] = daemon.dir();
  const RunResult result = sengctl({"list", "-o", "json"}, options);
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.out, "{\n  \"jobs\": []\n}\n");
}

TEST(Binary, ValidateRefusesBrokenJobsWithTheirPlaces) {
  const TempDir dir;
  const std::string file = dir.path() + "/job.yaml";
  std::ofstream(file)
      << "model: lenet\ndata: mnist\nbatch: {global: 64, micro: 9}\nepochs: 1\noptimizer: sgd\n";
  const RunResult result = sengctl({"validate", file});
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_EQ(result.err,
            file + ":3:28: batch.micro: 9 does not divide batch.global, 64; expected a divisor, as 8\n");
  EXPECT_EQ(result.out, "");
  // What only the network knows.
  std::ofstream(file) << "model: {name: resnet18,\n        width: 0}\ndata: {name: synthetic}\n"
                         "batch: {global: 64, micro: 8}\nepochs: 1\noptimizer: sgd\n";
  EXPECT_EQ(sengctl({"validate", file}).err,
            file + ":2:9: model.width: \"0\" is not a whole number from 1 to 1024\n");
  EXPECT_EQ(sengctl({"validate", file, "--set", "model.width=x"}).err,
            "--set model.width=x: model.width: \"x\" is not a whole number from 1 to 1024\n");
  RunOptions garbage;
  garbage.input = std::string("\xff\x00\x01", 3) + std::string(100'000, '[');
  EXPECT_EQ(sengctl({"validate", "-"}, garbage).exit_code, 2);
}

TEST(Binary, ABrokenPipeIsNoError) {
  const RunResult result =
      run({"bash", "-c", "set -o pipefail; \"$0\" help | head -1; echo ${PIPESTATUS[0]}", kSengctl});
  EXPECT_EQ(result.out, "usage: sengctl COMMAND [arguments]\n0\n");
  EXPECT_EQ(result.err, "");
  // A reader that is gone before the first byte.
  const RunResult gone = run({"bash", "-c", "\"$0\" help | true; echo ${PIPESTATUS[0]}", kSengctl});
  EXPECT_EQ(gone.out, "0\n");
  EXPECT_EQ(gone.err, "");
}

TEST(Binary, AFullDiskIsAnError) {
  const RunResult result = run({"bash", "-c", "\"$0\" help > /dev/full", kSengctl});
  EXPECT_EQ(result.exit_code, 6);
  EXPECT_THAT(result.err, HasSubstr("No space left on device"));
  const RunResult closed = run({"bash", "-c", "\"$0\" help >&-", kSengctl});
  EXPECT_EQ(closed.exit_code, 6);
}

TEST(Binary, CtrlCDetachesWith130) {
  FakeDaemon daemon;
  daemon.watch_states({running_job()});
  const TempDir dir;
  const std::string talk = dir.path() + "/err";
  std::vector<std::string> words = {kSengctl, "watch", "3", "--state-dir", daemon.dir()};
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, talk.c_str(), O_WRONLY | O_CREAT, 0600);
  pid_t pid = 0;
  ASSERT_EQ(posix_spawn(&pid, kSengctl.c_str(), &actions, nullptr, arguments.data(), environ), 0);
  posix_spawn_file_actions_destroy(&actions);
  while (daemon.count(MessageKind::kWatchRequest) < 2 && waitpid(pid, nullptr, WNOHANG) == 0)
    std::this_thread::yield();
  kill(pid, SIGINT);
  int status = 0;
  ASSERT_EQ(waitpid(pid, &status, 0), pid);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 130);
  std::ifstream in(talk);
  const std::string said{std::istreambuf_iterator<char>(in), {}};
  EXPECT_THAT(said, HasSubstr("detached; job 3 (fashion-lenet) goes on"));
  EXPECT_THAT(said, HasSubstr("sengctl watch 3"));
}

TEST(Binary, OnATerminalTheProgressIsRedrawn) {
  FakeDaemon daemon;
  daemon.watch_states({running_job(), running_job(), ended_job(JobState::kSucceeded)});
  // script(1) gives it a terminal.
  if (run({"bash", "-c", "command -v script"}).exit_code != 0) GTEST_SKIP() << "no script(1) here";
  const auto with = [&](const std::string& variables) {
    return run(
        {"script", "-qec", variables + kSengctl + " watch 3 --state-dir " + daemon.dir(), "/dev/null"});
  };
  const RunResult plain = with("NO_COLOR=1 ");
  EXPECT_EQ(plain.exit_code, 0);
  EXPECT_THAT(plain.out, HasSubstr("\033[K"));
  EXPECT_EQ(plain.out.find("\033[1m"), std::string::npos) << "NO_COLOR";
  daemon.watch_states({running_job(), ended_job(JobState::kSucceeded)});
  EXPECT_THAT(with("env -u NO_COLOR TERM=xterm ").out, HasSubstr("\033[1msucceeded\033[0m"));
}

}  // namespace
}  // namespace seng::testing
