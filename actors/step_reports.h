// The metrics of steps on their way to the daemon: those that this actor is still to report, and the group's
// last ones, whoever has reported them, which members report again where the daemon has not heard of them.
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
  void go_on_from(std::uint64_t step, const StepMetrics& metrics, std::uint64_t told = 0);
  void repeat(std::uint64_t told = 0);  // of the last ones those behind `told` are to be reported again
  void forget();

  bool empty() const { return waiting_.empty(); }
  std::vector<StepMetrics> take();                // what is to be reported
  void put_back(std::vector<StepMetrics> taken);  // but for steps that have been left since

 private:
  std::vector<StepMetrics> waiting_;
  std::deque<StepMetrics> recent_;
  std::uint64_t base_ = 0;  // the step that was gone on from last
};

}  // namespace seng
