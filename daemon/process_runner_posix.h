// ProcessRunner by posix_spawn and pidfds, on an event loop.
#pragma once

#include <map>
#include <memory>
#include <optional>

#include "daemon/event_loop.h"
#include "daemon/process_runner.h"
#include "protocol/base/unique_fd.h"

namespace seng {

class PosixProcessRunner final : public ProcessRunner {
 public:
  // `loop` outlives it.
  explicit PosixProcessRunner(EventLoop& loop);
  // Leaves what still runs alone.
  ~PosixProcessRunner() override;

  Result<StartedProcess> start(const ProcessSpec& spec,
                               std::function<void(const ProcessEnd&)> on_end) override;
  Status adopt(const StartedProcess& process, std::function<void(const ProcessEnd&)> on_end) override;
  void signal(pid_t pid, int number) override;
  int end_leftovers(const std::vector<StartedProcess>& processes, double grace_s) override;

 private:
  struct Child;
  void on_output(Child& child, int stream);
  void watch_end(Child& child);
  void on_ends();
  void on_pidfd(Child& child);
  void drop_stream(Child& child, int stream);

  EventLoop& loop_;
  UniqueFd ends_;  // an epoll of all pidfds: the loop has one descriptor to look at, not one for each process
  std::optional<EventLoop::WatchId> ends_watch_;
  std::map<pid_t, std::unique_ptr<Child>> children_;
};

}  // namespace seng
