// How a process ended.
#pragma once

#include <string>

namespace seng {

struct ExitStatus {
  bool signalled = false;
  int number = 0;        // the exit code, or the signal
  bool unknown = false;  // another daemon had started it

  bool operator==(const ExitStatus&) const = default;
};

std::string to_string(const ExitStatus& status);  // "exit 3", "signal 9 (KILL)"
std::string in_words(const ExitStatus& status);   // "exited with code 3", "was killed by signal 9 (KILL)"

}  // namespace seng
