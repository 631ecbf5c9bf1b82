#include "tests/support/process.h"

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace seng::testing {

namespace {

using Clock = std::chrono::steady_clock;

int remaining_ms(Clock::time_point deadline) {
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
  return left > 0 ? static_cast<int>(left) : 0;
}

[[noreturn]] void become(const std::vector<std::string>& command, const RunOptions& options) {
  if (!options.working_directory.empty() && chdir(options.working_directory.c_str()) != 0) _exit(126);
  for (const auto& [name, value] : options.environment)
    if (value.empty())
      unsetenv(name.c_str());
    else
      setenv(name.c_str(), value.c_str(), 1);
  std::vector<char*> argv;
  for (const std::string& word : command) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  execvp(argv[0], argv.data());
  _exit(127);
}

}  // namespace

RunResult run(const std::vector<std::string>& command, const RunOptions& options) {
  int in[2], out[2], err[2];
  if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC) || pipe2(err, O_CLOEXEC))
    throw std::runtime_error("pipe2");
  const pid_t pid = fork();
  if (pid == 0) {
    dup2(in[0], 0);
    dup2(out[1], 1);
    dup2(err[1], 2);
    become(command, options);
  }
  close(in[0]);
  close(out[1]);
  close(err[1]);
  signal(SIGPIPE, SIG_IGN);
  std::size_t written = 0;
  fcntl(in[1], F_SETFL, O_NONBLOCK);
  if (options.input.empty()) {
    close(in[1]);
    in[1] = -1;
  }

  RunResult result;
  const auto deadline = Clock::now() + std::chrono::seconds(options.timeout_seconds);
  bool open_out = true, open_err = true;
  const int pidfd = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
  bool exited = false;
  // A daemon that the program leaves behind may hold the pipes: its own exit ends the wait, after a last
  // read.
  while ((open_out || open_err) && !exited) {
    pollfd fds[4] = {{open_out ? out[0] : -1, POLLIN, 0},
                     {open_err ? err[0] : -1, POLLIN, 0},
                     {in[1], POLLOUT, 0},
                     {pidfd, POLLIN, 0}};
    const int ready = poll(fds, 4, remaining_ms(deadline));
    if (ready == 0) {
      result.timed_out = true;
      kill(pid, SIGKILL);
      break;
    }
    char buffer[65536];
    if (fds[3].revents) {
      exited = true;
      fcntl(out[0], F_SETFL, O_NONBLOCK);
      fcntl(err[0], F_SETFL, O_NONBLOCK);
      for (ssize_t n; (n = read(out[0], buffer, sizeof buffer)) > 0;) result.out.append(buffer, n);
      for (ssize_t n; (n = read(err[0], buffer, sizeof buffer)) > 0;) result.err.append(buffer, n);
      break;
    }
    if (fds[0].revents) {
      const ssize_t n = read(out[0], buffer, sizeof buffer);
      if (n > 0)
        result.out.append(buffer, n);
      else
        open_out = false;
    }
    if (fds[1].revents) {
      const ssize_t n = read(err[0], buffer, sizeof buffer);
      if (n > 0)
        result.err.append(buffer, n);
      else
        open_err = false;
    }
    if (in[1] >= 0 && fds[2].revents) {
      const ssize_t n = write(in[1], options.input.data() + written, options.input.size() - written);
      if (n > 0) written += n;
      if (n < 0 || written == options.input.size()) {
        close(in[1]);
        in[1] = -1;
      }
    }
  }
  if (in[1] >= 0) close(in[1]);
  close(out[0]);
  close(err[0]);
  close(pidfd);
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status) && !result.timed_out) result.exit_code = WEXITSTATUS(status);
  if (WIFSIGNALED(status)) result.signal = WTERMSIG(status);
  return result;
}

TempDir::TempDir() {
  char name[] = "/tmp/seng-test-XXXXXX";
  if (!mkdtemp(name)) throw std::runtime_error("mkdtemp");
  path_ = name;
}

TempDir::~TempDir() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::vector<pid_t> processes_with(const std::string& text) {
  std::vector<pid_t> found;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const std::string name = entry.path().filename();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    const pid_t pid = static_cast<pid_t>(std::stol(name));
    if (pid == getpid()) continue;
    // A process that goes meanwhile makes the read fail; getline keeps that a value.
    std::ifstream file("/proc/" + name + "/cmdline");
    std::string line;
    std::getline(file, line, '\n');
    for (char& c : line)
      if (c == 0) c = ' ';
    if (line.find(text) != std::string::npos) found.push_back(pid);
  }
  return found;
}

bool wait_until_gone(pid_t pid, int timeout_seconds) {
  const int fd = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
  if (fd < 0) return true;
  pollfd waited{fd, POLLIN, 0};
  const int ready = poll(&waited, 1, timeout_seconds * 1000);
  close(fd);
  return ready == 1;
}

}  // namespace seng::testing
