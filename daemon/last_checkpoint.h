// A job's end waits for its last checkpoint. Where that cannot be written the members wait, and another
// membership of the same members tries again: when, is said here. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "daemon/timeouts.h"

namespace seng {

class LastCheckpoint {
 public:
  explicit LastCheckpoint(const Timeouts& timeouts) : timeouts_(timeouts) {}

  // Pauses grow from `store_retry_s` to `max_back_off_s`. Returns this one.
  double failed(std::uint64_t step, const std::string& why, double now);
  // The group has gone on to that step: what failed was not its last.
  void committed(std::uint64_t step) {
    if (step > step_) tried();
  }
  // A membership was begun: it tries again, whatever it was begun for.
  void tried() {
    retry_at_.reset();
    wanted_ = false;
  }
  void hurry(double now) {
    if (retry_at_) retry_at_ = now;
  }
  void written() { *this = LastCheckpoint(timeouts_); }

  std::optional<double> deadline() const { return retry_at_; }
  void on_time(double now) {
    if (!retry_at_ || *retry_at_ > now) return;
    retry_at_.reset();
    wanted_ = true;
  }
  // The pause is over, and nothing was begun since.
  bool wanted() const { return wanted_; }
  // Why the last attempt failed; empty: none did.
  const std::string& why() const { return why_; }

 private:
  Timeouts timeouts_;
  std::uint64_t step_ = 0;
  unsigned attempts_ = 0;
  std::optional<double> retry_at_;
  bool wanted_ = false;
  std::string why_;
};

}  // namespace seng
