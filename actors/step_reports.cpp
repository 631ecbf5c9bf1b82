#include "actors/step_reports.h"

#include <utility>

namespace seng {
namespace {

constexpr std::size_t kMostWaiting = 20000;  // while the daemon cannot be reached; the oldest go first
constexpr std::size_t kMostRecent = 5000;    // more than a heartbeat holds

}  // namespace

void StepReports::add(const StepMetrics& step, bool reported) {
  while (!recent_.empty() && recent_.back().step >= step.step) recent_.pop_back();
  if (recent_.size() >= kMostRecent) recent_.pop_front();
  recent_.push_back(step);
  if (!reported) return;
  if (waiting_.size() >= kMostWaiting) waiting_.erase(waiting_.begin());
  waiting_.push_back(step);
}

void StepReports::go_on_from(std::uint64_t step, const StepMetrics& metrics) {
  const bool known = step > 0 && metrics.step == step;
  const auto left = [&](const StepMetrics& each) { return each.step > step || (known && each.step == step); };
  std::erase_if(waiting_, left);
  std::erase_if(recent_, left);
  if (known) add(metrics, true);
}

void StepReports::repeat() {
  if (waiting_.size() < recent_.size())
    waiting_.assign(recent_.begin(), recent_.end());  // else they are among them
}

std::vector<StepMetrics> StepReports::take() {
  return std::exchange(waiting_, {});
}

void StepReports::put_back(const std::vector<StepMetrics>& taken) {
  waiting_.insert(waiting_.begin(), taken.begin(), taken.end());
  if (waiting_.size() > kMostWaiting)
    waiting_.erase(waiting_.begin(), waiting_.end() - static_cast<std::ptrdiff_t>(kMostWaiting));
}

}  // namespace seng
