#include "daemon/exit_status.h"

#include <cstring>

namespace seng {
namespace {

std::string signal_text(int number) {
  const char* name = sigabbrev_np(number);
  return "signal " + std::to_string(number) + (name != nullptr ? " (" + std::string(name) + ")" : "");
}

}  // namespace

std::string to_string(const ExitStatus& status) {
  if (status.unknown) return "ended, how is not known";
  return status.signalled ? signal_text(status.number) : "exit " + std::to_string(status.number);
}

std::string in_words(const ExitStatus& status) {
  if (status.unknown) return "ended, nobody knows how (an earlier daemon had started it)";
  return status.signalled ? "was killed by " + signal_text(status.number)
                          : "exited with code " + std::to_string(status.number);
}

}  // namespace seng
