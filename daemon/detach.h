// Becoming a daemon: the starter waits until the daemon serves, or prints why it does not.
#pragma once

#include <functional>
#include <string>

#include "protocol/base/unique_fd.h"

namespace seng {

// Opens /dev/null as each standard stream that the starter has closed, so that nothing that is opened later
// takes its number and is then written to, or replaced. Call it first in main. False: errno says why.
bool fill_standard_streams();

// Tells the starter how the start went. Only the first word counts; none at all means that the daemon died.
class Readiness {
 public:
  Readiness() = default;  // nobody waits
  explicit Readiness(UniqueFd pipe) : pipe_(std::move(pipe)) {}
  void ready();
  void failed(const std::string& why);

 private:
  void tell(std::string text);
  UniqueFd pipe_;
};

// Runs `body` in a process of its own session without a terminal, whose standard streams are /dev/null and
// which has no other descriptors; its result is that process's exit code. The calling process returns when
// the daemon is ready (0) or has failed (1, `print_error` was called with why). Call it before any thread is
// made.
int run_detached(const std::function<int(Readiness&)>& body,
                 const std::function<void(const std::string&)>& print_error);

}  // namespace seng
