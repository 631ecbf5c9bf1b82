// Ctrl-C while following a job.
#pragma once

namespace seng {

// While it lives, SIGINT and SIGTERM no longer end the process but make fd() readable. One at a time.
class Interrupt {
 public:
  Interrupt();
  ~Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;

  int fd() const;
  bool happened() const;
  // Waits so long, or until it happens; whether it has.
  bool wait(int milliseconds) const;
};

}  // namespace seng
