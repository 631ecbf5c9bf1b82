// Starts processes and tells when they have ended. The daemon's only door to the kernel's processes, so that
// tests can put their own there.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <sys/types.h>

#include "daemon/exit_status.h"
#include "protocol/base/error.h"

namespace seng {

struct ProcessSpec {
  std::vector<std::string> argv;                                 // argv[0] is the program's path
  std::vector<std::pair<std::string, std::string>> environment;  // added to the daemon's own
  // Standard output and error: appended to this file (made with mode 0600), or, where it is empty, captured.
  std::string log_path;
  std::string input;  // given to standard input, which is else /dev/null
  std::size_t max_output =
      1 << 20;  // of each captured stream; a longer one is closed, which ends most writers
};

struct ProcessEnd {
  ExitStatus status;
  std::string output, error_output;  // captured
  bool truncated = false;            // a stream was longer than max_output
};

struct StartedProcess {
  pid_t pid = 0;
  std::uint64_t start_time_ticks = 0;  // field 22 of /proc/PID/stat: with the pid, names it for ever
};

class ProcessRunner {
 public:
  virtual ~ProcessRunner() = default;
  // Starts it in its own session, with no descriptors but the standard three, default signal handling, and
  // the directory / to work in. `on_end` is called later, never from within. The error is the system's text.
  virtual Result<StartedProcess> start(const ProcessSpec& spec,
                                       std::function<void(const ProcessEnd&)> on_end) = 0;
  // Takes over a process that an earlier life of the daemon started: as if start() had given it, but how it
  // ends will not be known. kNotFound: it is gone, or the number is another's now.
  virtual Status adopt(const StartedProcess& process, std::function<void(const ProcessEnd&)> on_end) = 0;
  // Signals a process that start() or adopt() gave and whose end was not told yet (else does nothing), and
  // its session.
  virtual void signal(pid_t pid, int number) = 0;
  // Ends processes of an earlier life of the daemon, each named by pid and start time, so that a stranger who
  // got the number since is left alone: SIGTERM, `grace_s` later SIGKILL. Waits for them. Returns how many
  // there were.
  virtual int end_leftovers(const std::vector<StartedProcess>& processes, double grace_s) = 0;
};

// Field 22 of /proc/PID/stat; 0 if there is no such process.
std::uint64_t start_time_ticks_of(pid_t pid);

}  // namespace seng
