#include "actors/exchange/step_progress.h"

#include <utility>

namespace seng {

void StepProgress::join(std::shared_ptr<const GroupView> group) {
  group_ = std::move(group);
  begin();
}

void StepProgress::begin() {
  std::lock_guard lock(mutex_);
  fragments_missing_.assign(group_->blocks(), 0);
  expected_.assign(group_->blocks(), false);
  missing_ = 0;
  refresh_ = directions_ = told_ = false;
}

void StepProgress::fragment_seen(std::uint32_t block) {
  std::lock_guard lock(mutex_);
  const auto expect = [this](std::uint32_t one) {
    if (expected_[one] || !(group_->owns(one) || group_->backup(one) == group_->self())) return;
    expected_[one] = true;
    fragments_missing_[one] = group_->tree().leaves();
    missing_ += fragments_missing_[one];
  };
  const auto& sizes = group_->group().fragment_floats;
  if (sizes.empty()) return expect(block);
  if (std::exchange(refresh_, true)) return;
  // One block's fragment announces those of all blocks that have any.
  for (std::uint32_t one = 0; one < sizes.size(); ++one) {
    if (sizes[one] > 0) expect(one);
  }
}

bool StepProgress::fragment_complete(std::uint32_t block) {
  std::lock_guard lock(mutex_);
  --fragments_missing_[block];
  --missing_;
  return complete();
}

bool StepProgress::directions_complete() {
  std::lock_guard lock(mutex_);
  directions_ = true;
  return complete();
}

bool StepProgress::complete() {
  if (told_ || !directions_ || missing_ > 0) return false;
  return told_ = true;
}

}  // namespace seng
