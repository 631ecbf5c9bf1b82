#include "actors/exchange/step_progress.h"

#include <utility>

namespace seng {

void StepProgress::join(std::shared_ptr<const GroupView> group) {
  group_ = std::move(group);
  begin(false);
}

void StepProgress::begin(bool renews_curvature) {
  std::lock_guard lock(mutex_);
  fragments_missing_.assign(group_->blocks(), 0);
  expected_.assign(group_->blocks(), false);
  missing_ = 0;
  refresh_ = directions_ = told_ = false;
  if (renews_curvature) expect_all();
}

void StepProgress::fragment_seen(std::uint32_t block) {
  std::lock_guard lock(mutex_);
  if (group_->group().fragment_floats.empty()) {
    expect(block);
  } else {
    expect_all();  // one block's fragment announces those of all blocks that have any
  }
}

void StepProgress::expect_all() {
  if (std::exchange(refresh_, true)) return;
  const auto& sizes = group_->group().fragment_floats;
  for (std::uint32_t block = 0; block < sizes.size(); ++block) {
    if (sizes[block] > 0) expect(block);
  }
}

void StepProgress::expect(std::uint32_t block) {
  if (expected_[block] || !(group_->owns(block) || group_->backup(block) == group_->self())) return;
  expected_[block] = true;
  fragments_missing_[block] = group_->tree().leaves();
  missing_ += fragments_missing_[block];
}

StepProgress::Fragments StepProgress::fragment_complete(std::uint32_t block) {
  std::lock_guard lock(mutex_);
  --fragments_missing_[block];
  --missing_;
  return {fragments_missing_[block] == 0, complete()};
}

bool StepProgress::renews(std::uint32_t block) const {
  std::lock_guard lock(mutex_);
  return expected_[block];
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
