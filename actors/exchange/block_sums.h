// The sums of all blocks in a step, for a member of a group: where a micro-batch's vector is added, and where
// what others send is.
//
//   ordered   one place for both: the fixed tree over the V micro-batches (block_sum.h)
//   fast      leaves are added along a tree over the own range, to one vector per block; the sum of all
//             members' vectors comes whole from the link, to the owner
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "actors/exchange/block_sum.h"
#include "actors/exchange/group_view.h"

namespace seng {

// Thread-safe as BlockSum is.
class BlockSums {
 public:
  BlockSums(std::shared_ptr<const GroupView> group, const StepPools& pools);

  void begin();  // the next step; nobody may be adding

  // Of this actor's micro-batches. What it hands out has values where it is to be sent, to the owner or into
  // the link's sum; else it completes a block that is owned here. Under fast its only node is kRoot.
  BlockSum& of_leaves(std::uint32_t block) { return fast_ ? *own_[block] : *sums_[block]; }
  // Its node that is these own micro-batches; nothing if none is.
  std::optional<std::uint32_t> node(const LeafRange& micro) const;
  // Of what comes from others; under fast only where the block is owned, and its only node is kRoot.
  BlockSum& of_arrivals(std::uint32_t block) { return *sums_[block]; }

  // Of a block that is owned here: micro-batches that its sum lacks, as far as one can tell: under fast the
  // sum comes whole or not at all.
  std::vector<bool> missing_leaves(std::uint32_t block) const;

 private:
  const std::shared_ptr<const GroupView> group_;
  const bool fast_;
  const SumTree own_tree_, whole_;               // fast: over the own range; of a single leaf
  std::vector<std::unique_ptr<BlockSum>> sums_;  // per block; fast: null where it is another's
  std::vector<std::unique_ptr<BlockSum>> own_;   // fast: per block
};

}  // namespace seng
