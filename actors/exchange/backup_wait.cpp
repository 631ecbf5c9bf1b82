#include "actors/exchange/backup_wait.h"

namespace seng {

void BackupWait::begin() {
  std::lock_guard lock(mutex_);
  held_.clear();
  waiting_.clear();
}

bool BackupWait::ready(std::uint32_t block, const PublishWord& word) {
  std::lock_guard lock(mutex_);
  if (held_.contains(block)) return true;
  waiting_[block] = word;
  return false;
}

std::optional<PublishWord> BackupWait::held(std::uint32_t block) {
  std::lock_guard lock(mutex_);
  held_.insert(block);
  const auto found = waiting_.find(block);
  if (found == waiting_.end()) return std::nullopt;
  const PublishWord word = found->second;
  waiting_.erase(found);
  return word;
}

std::vector<std::uint32_t> BackupWait::waiting() const {
  std::lock_guard lock(mutex_);
  std::vector<std::uint32_t> blocks;
  for (const auto& [block, word] : waiting_) blocks.push_back(block);
  return blocks;
}

}  // namespace seng
