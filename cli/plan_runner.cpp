#include "cli/plan_runner.h"

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <string_view>
#include <vector>

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "protocol/base/unique_fd.h"

extern char** environ;

namespace seng {
namespace {

constexpr std::size_t kMostOutput = std::size_t{16} << 20;

struct Pipe {
  UniqueFd read, write;
};

Result<Pipe> make_pipe() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return fail(errno_error("cannot make a pipe"));
  return Pipe{UniqueFd(ends[0]), UniqueFd(ends[1])};
}

// For the child's input: writing to a child that has gone is then an error and not a SIGPIPE.
Result<Pipe> make_socket_pair() {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
    return fail(errno_error("cannot make a socket pair"));
  return Pipe{UniqueFd(ends[0]), UniqueFd(ends[1])};
}

// A child with its three standard streams connected to us.
struct Child {
  pid_t pid = -1;
  UniqueFd in, out, err;
};

Result<Child> start(const std::string& program, std::vector<std::string> words) {
  auto in = make_socket_pair(), out = make_pipe(), err = make_pipe();
  for (const auto* pipe : {&in, &out, &err}) {
    if (!*pipe) return fail(pipe->error());
  }
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in->read.get(), STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, out->write.get(), STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, err->write.get(), STDERR_FILENO);
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  Child child;
  const int error = posix_spawn(&child.pid, program.c_str(), &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) {
    errno = error;
    return fail(errno_error("cannot start " + program));
  }
  child.in = std::move(in->write);
  child.out = std::move(out->read);
  child.err = std::move(err->read);
  for (const UniqueFd* fd : {&child.in, &child.out, &child.err}) fcntl(fd->get(), F_SETFL, O_NONBLOCK);
  return child;
}

// Feeds the input and collects both outputs until they end. False: the time was over, or the output too long.
bool converse(Child& child, std::string_view input, int timeout_ms, std::string& out, std::string& err) {
  using Clock = std::chrono::steady_clock;
  const auto deadline = Clock::now() + std::chrono::milliseconds(timeout_ms);
  const auto drain = [](UniqueFd& fd, std::string& text) {
    char buffer[65536];
    const ssize_t n = read(fd.get(), buffer, sizeof(buffer));
    if (n > 0) text.append(buffer, static_cast<std::size_t>(n));
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) fd.reset();
  };
  while (child.out || child.err) {
    if (input.empty()) child.in.reset();
    std::array<pollfd, 3> items = {
        {{child.in.get(), POLLOUT, 0}, {child.out.get(), POLLIN, 0}, {child.err.get(), POLLIN, 0}}};
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
    if (left <= 0 || out.size() > kMostOutput || err.size() > kMostOutput) return false;
    if (poll(items.data(), items.size(), static_cast<int>(left)) < 0) continue;
    if (items[0].revents != 0) {
      const ssize_t n = send(child.in.get(), input.data(), input.size(), MSG_NOSIGNAL);
      if (n > 0) input.remove_prefix(static_cast<std::size_t>(n));
      if (n < 0 && errno != EAGAIN && errno != EINTR) input = {};
    }
    if (items[1].revents != 0) drain(child.out, out);
    if (items[2].revents != 0) drain(child.err, err);
  }
  return true;
}

std::string last_line(std::string text) {
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text.substr(text.rfind('\n') + 1);
}

}  // namespace

Result<std::string> run_plan(const std::string& binary_directory, const std::string& spec_yaml,
                             int timeout_ms) {
  const std::string program = binary_directory + "/seng-actor";
  if (access(program.c_str(), X_OK) != 0)
    return fail(
        ErrorCode::kNotFound,
        fmt::format("no seng-actor beside sengctl in {}; expected the three binaries in one directory",
                    binary_directory));
  auto child = start(program, {"seng-actor", "plan"});
  if (!child) return fail(child.error());
  std::string out, err;
  const bool in_time = converse(*child, spec_yaml, timeout_ms, out, err);
  if (!in_time) kill(child->pid, SIGKILL);
  int status = 0;
  while (waitpid(child->pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (!in_time)
    return fail(ErrorCode::kTimeout,
                fmt::format("{} plan did not finish within {} s", program, timeout_ms / 1000));
  const bool answered =
      WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 2) && !out.empty();
  if (answered) return out;
  const std::string end = WIFSIGNALED(status) ? fmt::format("signal {}", WTERMSIG(status))
                                              : fmt::format("exit code {}", WEXITSTATUS(status));
  return fail(ErrorCode::kInternal, fmt::format("{} plan ended with {}: {}", program, end, last_line(err)));
}

}  // namespace seng
