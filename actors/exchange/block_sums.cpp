#include "actors/exchange/block_sums.h"

#include <algorithm>

namespace seng {

BlockSums::BlockSums(std::shared_ptr<const GroupView> group, const StepPools& pools)
    : group_(std::move(group)),
      fast_(group_->fast()),
      own_tree_(std::max(1u, group_->own_range().size())),
      whole_(1) {
  for (std::uint32_t block = 0; block < group_->blocks(); ++block) {
    const RunGrid& grid = group_->grid(block);
    const auto& pool = pools.of(block == group_->summary());
    const bool owns = group_->owns(block);
    if (!fast_) {
      sums_.push_back(std::make_unique<BlockSum>(group_->tree(), grid, pool, owns, group_->own_subtrees()));
      continue;
    }
    own_.push_back(
        std::make_unique<BlockSum>(own_tree_, grid, pool, false, std::vector<std::uint32_t>{SumTree::kRoot}));
    sums_.push_back(owns ? std::make_unique<BlockSum>(whole_, grid, pool, true) : nullptr);
  }
}

std::optional<std::uint32_t> BlockSums::node(const LeafRange& micro) const {
  if (!fast_) return group_->tree().find(micro);
  const std::uint32_t first = group_->own_range().first;
  return own_tree_.find({micro.first - first, micro.last - first});
}

void BlockSums::begin() {
  for (auto* list : {&sums_, &own_}) {
    for (auto& sum : *list) {
      if (sum) sum->begin();
    }
  }
}

std::vector<bool> BlockSums::missing_leaves(std::uint32_t block) const {
  std::vector<bool> missing = sums_[block]->missing_leaves();
  if (fast_) missing.assign(group_->tree().leaves(), missing[0]);
  return missing;
}

}  // namespace seng
