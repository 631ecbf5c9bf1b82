#include "actors/step_reports.h"

#include <algorithm>
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

void StepReports::go_on_from(std::uint64_t step, const StepMetrics& metrics, std::uint64_t told) {
  const bool known = step > 0 && metrics.step == step;
  const auto left = [&](const StepMetrics& each) { return each.step > step || (known && each.step == step); };
  std::erase_if(waiting_, left);
  std::erase_if(recent_, left);
  base_ = step;
  if (known) add(metrics, false);
  repeat(told);
}

void StepReports::repeat(std::uint64_t told) {
  const auto first = std::ranges::upper_bound(recent_, told, {}, &StepMetrics::step);
  if (first == recent_.end()) return;
  // Of what waits only older ones may be none of the last ones.
  std::erase_if(waiting_, [&](const StepMetrics& each) { return each.step >= first->step; });
  waiting_.insert(waiting_.end(), first, recent_.end());
}

void StepReports::forget() {
  recent_.clear();
  waiting_.clear();
}

std::vector<StepMetrics> StepReports::take() {
  return std::exchange(waiting_, {});
}

void StepReports::put_back(std::vector<StepMetrics> taken) {
  // What was left is none of the last ones, though not older than these.
  std::erase_if(taken, [&](const StepMetrics& each) {
    if (each.step <= base_ || (!recent_.empty() && each.step < recent_.front().step)) return false;
    const auto found = std::ranges::lower_bound(recent_, each.step, {}, &StepMetrics::step);
    return found == recent_.end() || found->step != each.step || found->seconds != each.seconds;
  });
  waiting_.insert(waiting_.begin(), taken.begin(), taken.end());
  if (waiting_.size() > kMostWaiting)
    waiting_.erase(waiting_.begin(), waiting_.end() - static_cast<std::ptrdiff_t>(kMostWaiting));
}

}  // namespace seng
