// The metrics of steps on their way to the daemon: those that this actor is still to report, and the group's
// last ones, whoever has reported them, which a new leader reports again, and any leader to a new daemon.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "protocol/messages/metrics.h"

namespace seng {

// Not thread-safe.
class StepReports {
 public:
  // What the last ones have of that step and of later ones was left.
  void add(const StepMetrics& step, bool reported);
  // As Session::go_on_from().
  void go_on_from(std::uint64_t step, const StepMetrics& metrics);
  void repeat();  // the last ones are to be reported again
  void forget() { recent_.clear(); }

  std::vector<StepMetrics> take();  // what is to be reported
  void put_back(const std::vector<StepMetrics>& taken);

 private:
  std::vector<StepMetrics> waiting_;
  std::deque<StepMetrics> recent_;
};

}  // namespace seng
