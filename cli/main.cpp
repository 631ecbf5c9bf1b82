#include <csignal>
#include <cstring>
#include <iostream>

#include <unistd.h>

#include "cli/sengctl.h"

int main(int argc, char** argv) {
  // A reader that goes away is an error of a write, not the end of this process.
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);  // nor is a file that grows too large
  seng::FdBuffer out_buffer(STDOUT_FILENO), err_buffer(STDERR_FILENO);
  std::ostream out(&out_buffer), err(&err_buffer);
  err.setf(std::ios::unitbuf);
  seng::Console console{std::cin, out, err};
  const seng::Surroundings surroundings = seng::current_surroundings();
  const bool capable = surroundings.variable("NO_COLOR").empty() && surroundings.variable("TERM") != "dumb";
  console.out_is_terminal = isatty(STDOUT_FILENO) == 1;
  console.err_is_terminal = isatty(STDERR_FILENO) == 1;
  console.color = console.out_is_terminal && capable;
  console.width = [] {
    return seng::terminal_width(isatty(STDERR_FILENO) == 1 ? STDERR_FILENO : STDOUT_FILENO);
  };

  const seng::ExitCode code = seng::run_sengctl({argv + 1, argv + argc}, console, surroundings);
  // `sengctl list | head -1`: the reader has what it wanted.
  if (out_buffer.error() != 0 && out_buffer.error() != EPIPE) {
    err << "sengctl: cannot write the output: " << std::strerror(out_buffer.error()) << "\n";
    if (code == seng::ExitCode::kOk) return static_cast<int>(seng::ExitCode::kFailed);
  }
  return static_cast<int>(code);
}
