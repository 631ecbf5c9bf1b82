// Real processes.
#include <csignal>
#include <fstream>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/process_runner_posix.h"
#include "tests/support/process.h"

namespace seng::testing {
namespace {

using ::testing::HasSubstr;

class ProcessRunnerTest : public ::testing::Test {
 protected:
  // Runs the loop until the program has ended.
  ProcessEnd run_to_end(const ProcessSpec& spec) {
    std::optional<ProcessEnd> out;
    auto started = runner_.start(spec, [&](const ProcessEnd& end) { out = end; });
    EXPECT_TRUE(started) << started.error().message;
    if (started) wait_for([&] { return out.has_value(); });
    return out.value_or(ProcessEnd{{true, 0}, "", "", false});
  }
  template <class Condition>
  void wait_for(Condition condition) {
    const double end = clock_.now() + 20;
    while (!condition() && clock_.now() < end) ASSERT_TRUE(loop_.turn(end - clock_.now()));
    EXPECT_TRUE(condition());
  }
  static ProcessSpec shell(const std::string& script) {
    ProcessSpec spec;
    spec.argv = {"/bin/sh", "-c", script};
    return spec;
  }

  TempDir dir_;
  SystemClock clock_;
  EventLoop loop_{clock_};
  PosixProcessRunner runner_{loop_};
};

TEST_F(ProcessRunnerTest, CapturesOutputAndExitCode) {
  ProcessSpec spec = shell("cat; echo oops >&2; exit 3");
  spec.input = std::string(200000, 'y');
  const ProcessEnd end = run_to_end(spec);
  EXPECT_EQ(end.status, (ExitStatus{false, 3}));
  EXPECT_EQ(end.output, spec.input);
  EXPECT_EQ(end.error_output, "oops\n");
  EXPECT_FALSE(end.truncated);
}

TEST_F(ProcessRunnerTest, BoundsWhatItKeeps) {
  ProcessSpec spec = shell("cat /dev/zero; exit 4");
  spec.max_output = 1000;
  const ProcessEnd end = run_to_end(spec);
  EXPECT_EQ(end.output.size(), 1000u);
  EXPECT_TRUE(end.truncated);
  EXPECT_EQ(end.status, (ExitStatus{false, 4})) << "it was not blocked by a full pipe";
}

TEST_F(ProcessRunnerTest, AProgramThatReadsNoInputBlocksNobody) {
  ProcessSpec spec = shell("exit 0");
  spec.input = std::string(4 << 20, 'y');
  EXPECT_EQ(run_to_end(spec).status, (ExitStatus{false, 0}));
}

TEST_F(ProcessRunnerTest, TellsTheSignal) {
  EXPECT_EQ(run_to_end(shell("kill -9 $$")).status, (ExitStatus{true, SIGKILL}));
  EXPECT_EQ(run_to_end(shell("kill -11 $$")).status, (ExitStatus{true, SIGSEGV}));
}

TEST_F(ProcessRunnerTest, AMissingProgramIsAnErrorOfTheStart) {
  ProcessSpec spec;
  spec.argv = {"/nowhere/seng-actor"};
  const auto started = runner_.start(spec, [](const ProcessEnd&) { FAIL(); });
  ASSERT_FALSE(started);
  EXPECT_THAT(started.error().message, HasSubstr("/nowhere/seng-actor: No such file"));
}

TEST_F(ProcessRunnerTest, AnUnwritableLogIsAnErrorOfTheStart) {
  ProcessSpec spec = shell("true");
  spec.log_path = dir_.path() + "/missing/x.log";
  const auto started = runner_.start(spec, [](const ProcessEnd&) { FAIL(); });
  ASSERT_FALSE(started);
  EXPECT_THAT(started.error().message, HasSubstr("missing/x.log"));
}

TEST_F(ProcessRunnerTest, LogsAppendPrivately) {
  ProcessSpec spec = shell("echo out; echo err >&2");
  spec.log_path = dir_.path() + "/a.log";
  std::ofstream(spec.log_path) << "before\n";
  run_to_end(spec);
  std::ifstream in(spec.log_path);
  const std::string text((std::istreambuf_iterator<char>(in)), {});
  EXPECT_EQ(text, "before\nout\nerr\n");
  spec.log_path = dir_.path() + "/b.log";
  run_to_end(spec);
  struct stat info {};
  ASSERT_EQ(stat(spec.log_path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
}

TEST_F(ProcessRunnerTest, ChildrenGetACleanWorld) {
  signal(SIGPIPE, SIG_IGN);
  sigset_t term, old;
  sigemptyset(&term);
  sigaddset(&term, SIGTERM);
  sigprocmask(SIG_BLOCK, &term, &old);
  ProcessSpec spec = shell(
      "ls /proc/self/fd | wc -l; pwd; echo $SENG_TEST_TOKEN; ps -o sid= -p $$ | tr -d ' '; echo $$; "
      "grep -E 'SigBlk|SigIgn' /proc/self/status");
  spec.environment = {{"SENG_TEST_TOKEN", "secret"}};
  const ProcessEnd end = run_to_end(spec);
  sigprocmask(SIG_SETMASK, &old, nullptr);
  std::istringstream lines(end.output);
  std::string fds, cwd, token, sid, pid, blocked, ignored;
  for (std::string* line : {&fds, &cwd, &token, &sid, &pid, &blocked, &ignored}) std::getline(lines, *line);
  EXPECT_EQ(fds, "4") << "0 to 2 and ls's own";
  EXPECT_EQ(cwd, "/");
  EXPECT_EQ(token, "secret");
  EXPECT_EQ(sid, pid) << "its own session";
  // The first 31: the next two are the C library's own.
  for (const std::string& mask : {blocked, ignored}) {
    EXPECT_EQ(std::stoull(mask.substr(mask.find('\t')), nullptr, 16) & 0x7fffffff, 0u) << mask;
  }
}

TEST_F(ProcessRunnerTest, SignalsWhatRunsOnly) {
  std::optional<ExitStatus> ended;
  auto started = runner_.start(shell("exec sleep 100"), [&](const ProcessEnd& end) { ended = end.status; });
  ASSERT_TRUE(started);
  EXPECT_EQ(started->start_time_ticks, start_time_ticks_of(started->pid));
  EXPECT_GT(started->start_time_ticks, 0u);
  runner_.signal(started->pid, SIGTERM);
  wait_for([&] { return ended.has_value(); });
  EXPECT_EQ(*ended, (ExitStatus{true, SIGTERM}));
  runner_.signal(started->pid, SIGKILL);  // nobody's number any more
  runner_.signal(getpid(), SIGKILL);      // not ours to kill
  EXPECT_EQ(start_time_ticks_of(started->pid), 0u);
}

TEST_F(ProcessRunnerTest, AGrandchildThatKeepsThePipesIsNotWaitedFor) {
  const double before = clock_.now();
  const ProcessEnd end = run_to_end(shell("sleep 30 & echo $!"));
  EXPECT_LT(clock_.now() - before, 10);
  kill(std::stoi(end.output), SIGKILL);
}

TEST_F(ProcessRunnerTest, EndsLeftoversOnlyByPidAndStartTime) {
  // Children of this process, so that they stay zombies until reaped here.
  const auto child = [](bool stubborn) {
    int ready[2];
    EXPECT_EQ(pipe(ready), 0);
    const pid_t pid = fork();
    if (pid == 0) {
      if (stubborn) signal(SIGTERM, SIG_IGN);
      (void)!write(ready[1], "x", 1);
      for (;;) pause();
    }
    char c;
    EXPECT_EQ(read(ready[0], &c, 1), 1);
    close(ready[0]);
    close(ready[1]);
    return pid;
  };
  const pid_t obeys = child(false), stubborn = child(true), stranger = child(false);
  const int ended = runner_.end_leftovers({{obeys, start_time_ticks_of(obeys)},
                                           {stubborn, start_time_ticks_of(stubborn)},
                                           {stranger, start_time_ticks_of(stranger) + 1},
                                           {stranger, 0},
                                           {999999999, 5}},
                                          0.2);
  EXPECT_EQ(ended, 2);
  int status = 0;
  EXPECT_EQ(waitpid(obeys, &status, 0), obeys);
  EXPECT_EQ(WTERMSIG(status), SIGTERM);
  EXPECT_EQ(waitpid(stubborn, &status, 0), stubborn);
  EXPECT_EQ(WTERMSIG(status), SIGKILL);
  EXPECT_EQ(waitpid(stranger, &status, WNOHANG), 0) << "a stranger was ended";
  kill(stranger, SIGKILL);
  waitpid(stranger, &status, 0);
}

}  // namespace
}  // namespace seng::testing
