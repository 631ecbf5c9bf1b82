#include "daemon/process_runner_posix.h"

#include <array>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <system_error>

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "protocol/base/clock.h"
#include "protocol/base/file.h"
#include "protocol/base/log.h"
#include "protocol/base/unique_fd.h"

// glibc 2.36 declares these without C linkage.
extern "C" {
#include <sys/pidfd.h>
}

extern char** environ;

namespace seng {

namespace {

constexpr double kLastWordsSeconds = 0.02;

}  // namespace

struct PosixProcessRunner::Child {
  pid_t pid = 0;
  UniqueFd pidfd;
  struct Stream {
    UniqueFd fd;
    EventLoop::WatchId watch = 0;
  };
  std::array<Stream, 2> streams;  // standard output and error, captured
  bool captured = false;          // it has them: it speaks through nothing else
  bool adopted = false;           // no child of ours: its end is seen, but not how it ended
  std::size_t max_output = 0;
  ProcessEnd end;
  std::function<void(const ProcessEnd&)> on_end;
};

namespace {

// posix_spawn's structures, freed at the end of the scope.
struct SpawnPlan {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  SpawnPlan() {
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
  }
  ~SpawnPlan() {
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
  }
  SpawnPlan(const SpawnPlan&) = delete;
  SpawnPlan& operator=(const SpawnPlan&) = delete;
};

// A fresh session, so that neither a terminal's nor the daemon's end takes the actors along; signals as by
// default.
void set_attributes(posix_spawnattr_t* attributes) {
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(attributes, &none);
  posix_spawnattr_setsigdefault(attributes, &all);
  posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
}

std::vector<std::string> merged_environment(const std::vector<std::pair<std::string, std::string>>& added) {
  std::vector<std::string> out;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    const std::string_view name = text.substr(0, text.find('='));
    const bool replaced =
        std::any_of(added.begin(), added.end(), [&](const auto& pair) { return pair.first == name; });
    if (!replaced) out.emplace_back(text);
  }
  for (const auto& [name, value] : added) out.push_back(name + "=" + value);
  return out;
}

std::vector<char*> pointers(std::vector<std::string>& strings) {
  std::vector<char*> out;
  for (std::string& s : strings) out.push_back(s.data());
  out.push_back(nullptr);
  return out;
}

// The child's standard input: an unlinked file holding the text, so that a child that never reads cannot
// block us.
Result<UniqueFd> input_file(const std::string& text) {
  UniqueFd fd(static_cast<int>(memfd_create("seng-input", MFD_CLOEXEC)));
  if (!fd) return fail(errno_error("memfd_create"));
  std::size_t done = 0;
  while (done < text.size()) {
    const ssize_t put = write(fd.get(), text.data() + done, text.size() - done);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return fail(errno_error("cannot write a program's input"));
    done += static_cast<std::size_t>(put);
  }
  lseek(fd.get(), 0, SEEK_SET);
  return fd;
}

struct Pipe {
  UniqueFd read, write;
};
Result<Pipe> make_pipe() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return fail(errno_error("pipe"));
  Pipe out{UniqueFd(ends[0]), UniqueFd(ends[1])};
  fcntl(out.read.get(), F_SETFL, O_NONBLOCK);
  return out;
}

// What a child gets as descriptors 0 to 2; ours are closed after the start.
struct Standard {
  UniqueFd input, log;
  Pipe streams[2];
};
Result<Standard> open_standard(const ProcessSpec& spec) {
  Standard out;
  if (spec.input.empty()) {
    out.input.reset(open("/dev/null", O_RDONLY | O_CLOEXEC));
    if (!out.input) return fail(errno_error("cannot open /dev/null"));
  } else {
    auto input = input_file(spec.input);
    if (!input) return fail(std::move(input).error());
    out.input = *std::move(input);
  }
  if (!spec.log_path.empty()) {
    out.log.reset(open(spec.log_path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
    if (!out.log) return fail(errno_error("cannot write " + spec.log_path));
    return out;
  }
  for (Pipe& stream : out.streams) {
    auto made = make_pipe();
    if (!made) return fail(std::move(made).error());
    stream = *std::move(made);
  }
  return out;
}

}  // namespace

std::uint64_t start_time_ticks_of(pid_t pid) {
  const auto stat = read_file(fmt::format("/proc/{}/stat", pid), 4096);
  if (!stat) return 0;
  // The name, field 2, may hold anything; fields after its last parenthesis are numbers.
  std::size_t at = stat->rfind(')');
  for (int field = 2; field < 22 && at != std::string::npos; ++field) at = stat->find(' ', at + 1);
  return at == std::string::npos ? 0 : std::strtoull(stat->c_str() + at, nullptr, 10);
}

PosixProcessRunner::PosixProcessRunner(EventLoop& loop) : loop_(loop), ends_(epoll_create1(EPOLL_CLOEXEC)) {
  if (!ends_) throw std::system_error(errno, std::generic_category(), "epoll_create1");
}

PosixProcessRunner::~PosixProcessRunner() {
  if (ends_watch_) loop_.forget(*ends_watch_);
  for (auto& [pid, child] : children_) {
    for (int stream : {0, 1}) drop_stream(*child, stream);
  }
}

Result<StartedProcess> PosixProcessRunner::start(const ProcessSpec& spec,
                                                 std::function<void(const ProcessEnd&)> on_end) {
  auto standard = open_standard(spec);
  if (!standard) return fail(std::move(standard).error());
  SpawnPlan plan;
  set_attributes(&plan.attributes);
  const bool logged = static_cast<bool>(standard->log);
  posix_spawn_file_actions_adddup2(&plan.actions, standard->input.get(), 0);
  for (int stream : {0, 1}) {
    const int fd = logged ? standard->log.get() : standard->streams[stream].write.get();
    posix_spawn_file_actions_adddup2(&plan.actions, fd, stream + 1);
  }
  posix_spawn_file_actions_addclosefrom_np(&plan.actions, 3);
  posix_spawn_file_actions_addchdir_np(&plan.actions, "/");

  std::vector<std::string> arguments = spec.argv, variables = merged_environment(spec.environment);
  auto child = std::make_unique<Child>();
  const int failed = posix_spawn(&child->pid, spec.argv.at(0).c_str(), &plan.actions, &plan.attributes,
                                 pointers(arguments).data(), pointers(variables).data());
  if (failed != 0) {
    errno = failed;
    return fail(errno_error("cannot start " + spec.argv[0]));
  }
  child->pidfd.reset(pidfd_open(child->pid, 0));
  if (!child->pidfd) {
    const Error error = errno_error("pidfd_open");
    kill(child->pid, SIGKILL);
    waitpid(child->pid, nullptr, 0);
    return fail(error);
  }
  child->on_end = std::move(on_end);
  child->captured = spec.log_path.empty();
  child->max_output = spec.max_output;
  Child& c = *child;
  for (int stream : {0, 1}) {
    c.streams[stream].fd = std::move(standard->streams[stream].read);
    if (!c.streams[stream].fd) continue;
    c.streams[stream].watch =
        loop_.watch_fd(c.streams[stream].fd.get(), [this, &c, stream] { on_output(c, stream); });
  }
  watch_end(c);
  const StartedProcess started{c.pid, start_time_ticks_of(c.pid)};
  children_[c.pid] = std::move(child);
  return started;
}

Status PosixProcessRunner::adopt(const StartedProcess& process,
                                 std::function<void(const ProcessEnd&)> on_end) {
  auto child = std::make_unique<Child>();
  child->pid = process.pid;
  child->adopted = true;
  child->on_end = std::move(on_end);
  child->pidfd.reset(pidfd_open(process.pid, 0));
  // Checked with the descriptor in hand, so that the number cannot change its owner in between.
  if (!child->pidfd || process.start_time_ticks == 0 ||
      start_time_ticks_of(process.pid) != process.start_time_ticks) {
    return fail(ErrorCode::kNotFound, fmt::format("process {} is gone", process.pid));
  }
  Child& c = *child;
  watch_end(c);
  children_[c.pid] = std::move(child);
  return {};
}

void PosixProcessRunner::watch_end(Child& child) {
  epoll_event event{EPOLLIN, {.u64 = static_cast<std::uint64_t>(child.pid)}};
  const int added = epoll_ctl(ends_.get(), EPOLL_CTL_ADD, child.pidfd.get(), &event);
  SENG_CHECK(added == 0, "a pidfd that cannot be watched");
  if (!ends_watch_) ends_watch_ = loop_.watch_fd(ends_.get(), [this] { on_ends(); });
}

void PosixProcessRunner::on_ends() {
  std::array<epoll_event, 64> events;  // more come in the next turn
  const int count = epoll_wait(ends_.get(), events.data(), static_cast<int>(events.size()), 0);
  for (int i = 0; i < count; ++i) {
    const auto found = children_.find(static_cast<pid_t>(events[static_cast<std::size_t>(i)].data.u64));
    if (found != children_.end()) on_pidfd(*found->second);
  }
}

void PosixProcessRunner::drop_stream(Child& child, int stream) {
  Child::Stream& s = child.streams[stream];
  if (!s.fd) return;
  loop_.forget(s.watch);
  s.fd.reset();
}

void PosixProcessRunner::on_output(Child& child, int stream) {
  std::string& kept = stream == 0 ? child.end.output : child.end.error_output;
  char buffer[65536];
  // More than a pipe holds, but not for ever: a child that writes without end must not hold the loop.
  for (int reads = 0; reads < 16; ++reads) {
    const ssize_t got = read(child.streams[stream].fd.get(), buffer, sizeof(buffer));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) return drop_stream(child, stream);
    const std::size_t room = child.max_output - std::min(child.max_output, kept.size());
    kept.append(buffer, std::min(room, static_cast<std::size_t>(got)));
    if (static_cast<std::size_t>(got) <= room) continue;
    child.end.truncated = true;
    return drop_stream(child, stream);
  }
}

void PosixProcessRunner::on_pidfd(Child& child) {
  siginfo_t info{};
  if (child.adopted) {
    child.end.status.unknown = true;
  } else if (waitid(P_PIDFD, static_cast<id_t>(child.pidfd.get()), &info, WEXITED | WNOHANG) != 0 ||
             info.si_pid == 0) {
    if (errno == EINTR || info.si_pid == 0) return;
    log_error("cannot wait for process {}: {}", child.pid, std::strerror(errno));
  }
  if (!child.adopted) child.end.status = {info.si_code != CLD_EXITED, info.si_status};
  // What it wrote before its end is in the pipes; a grandchild that keeps them open is not waited for.
  for (int stream : {0, 1}) {
    if (child.streams[stream].fd) on_output(child, stream);
    drop_stream(child, stream);
  }
  epoll_ctl(ends_.get(), EPOLL_CTL_DEL, child.pidfd.get(), nullptr);
  const std::shared_ptr<Child> owned = std::move(children_.at(child.pid));
  children_.erase(owned->pid);
  // What it said through sockets may still be on its way in their threads. A killed one had no last words.
  if (owned->end.status.signalled || owned->captured) return owned->on_end(owned->end);
  loop_.at(loop_.clock().now() + kLastWordsSeconds, [owned] { owned->on_end(owned->end); });
}

void PosixProcessRunner::signal(pid_t pid, int number) {
  const auto found = children_.find(pid);
  if (found == children_.end()) return;
  // By descriptor, which cannot become another process's as a number can. Until a child's end is collected
  // its session's number cannot either.
  if (pidfd_send_signal(found->second->pidfd.get(), number, nullptr, 0) != 0)
    log_warning("cannot signal process {}: {}", pid, std::strerror(errno));
  if (number == SIGKILL && !found->second->adopted) kill(-pid, number);
}

int PosixProcessRunner::end_leftovers(const std::vector<StartedProcess>& processes, double grace_s) {
  const SystemClock clock;
  std::vector<UniqueFd> ours;
  for (const StartedProcess& process : processes) {
    UniqueFd fd(pidfd_open(process.pid, 0));
    // Checked with the descriptor in hand, so that the number cannot change its owner in between.
    if (!fd || process.start_time_ticks == 0 ||
        start_time_ticks_of(process.pid) != process.start_time_ticks) {
      continue;
    }
    if (pidfd_send_signal(fd.get(), SIGTERM, nullptr, 0) == 0) ours.push_back(std::move(fd));
  }
  const auto wait_for = [&](UniqueFd& fd, double until) {
    pollfd item{fd.get(), POLLIN, 0};
    const double left = until - clock.now();
    return poll(&item, 1, left > 0 ? static_cast<int>(std::ceil(left * 1000)) : 0) > 0;
  };
  const double until = clock.now() + grace_s;
  for (UniqueFd& fd : ours) {
    if (wait_for(fd, until)) continue;
    pidfd_send_signal(fd.get(), SIGKILL, nullptr, 0);
    wait_for(fd, clock.now() + grace_s);
  }
  return static_cast<int>(ours.size());
}

}  // namespace seng
