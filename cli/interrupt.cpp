#include "cli/interrupt.h"

#include <cerrno>
#include <csignal>

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include "protocol/base/error.h"

namespace seng {
namespace {

// A signal handler reaches nothing but globals.
int wake_pipe[2] = {-1, -1};
struct sigaction old_int, old_term;

void on_signal(int) {
  const int saved = errno;
  [[maybe_unused]] const ssize_t written = write(wake_pipe[1], "!", 1);
  errno = saved;
}

}  // namespace

Interrupt::Interrupt() {
  SENG_CHECK(wake_pipe[0] < 0, "one Interrupt at a time");
  if (pipe2(wake_pipe, O_CLOEXEC | O_NONBLOCK) != 0) throw VendorError(errno_error("pipe2").message);
  struct sigaction action = {};
  action.sa_handler = on_signal;
  sigaction(SIGINT, &action, &old_int);
  sigaction(SIGTERM, &action, &old_term);
}

Interrupt::~Interrupt() {
  sigaction(SIGINT, &old_int, nullptr);
  sigaction(SIGTERM, &old_term, nullptr);
  for (int& end : wake_pipe) {
    close(end);
    end = -1;
  }
}

int Interrupt::fd() const {
  return wake_pipe[0];
}

bool Interrupt::happened() const {
  return wait(0);
}

bool Interrupt::wait(int milliseconds) const {
  pollfd item{wake_pipe[0], POLLIN, 0};
  const int ready = poll(&item, 1, milliseconds);
  return ready > 0 || (ready < 0 && errno == EINTR && poll(&item, 1, 0) > 0);
}

}  // namespace seng
