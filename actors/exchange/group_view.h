// A group as the exchange needs it: checked once when it is joined, then the judge of every part that a peer
// sends.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "actors/exchange/exchange.h"
#include "actors/exchange/run_grid.h"
#include "actors/exchange/tree.h"
#include "protocol/base/error.h"
#include "protocol/messages/peer.h"

namespace seng {

struct GroupLimits {
  std::size_t run_floats = kRunFloats;
  // Floats of one fragment where Group::fragment_floats says nothing. 256 MiB: a peer's word alone cannot
  // make us allocate more.
  std::uint64_t max_fragment_floats = std::uint64_t{1} << 26;
};

// Immutable, so safe from any thread.
class GroupView {
 public:
  // block_floats: per block, gradient and statistics together, without the summary. kInvalidArgument when the
  // group does not fit: ranges that do not cut [0, V) in order, self or an owner that is no member, a member
  // that has neither a micro-batch nor a block (nobody would wait for it, so nothing would bound how far
  // others run ahead).
  static Result<std::shared_ptr<const GroupView>> create(const Group& group,
                                                         const std::vector<std::size_t>& block_floats,
                                                         const GroupLimits& limits);

  const Group& group() const { return group_; }
  const SumTree& tree() const { return tree_; }
  std::uint32_t blocks() const { return static_cast<std::uint32_t>(grids_.size()); }  // the summary included
  std::uint32_t summary() const { return blocks() - 1; }
  const RunGrid& grid(std::uint32_t block) const { return grids_[block]; }

  ActorId self() const { return group_.self; }
  bool alone() const { return group_.members.size() == 1; }
  // The link adds the members' vectors.
  bool fast() const { return is_fast(group_); }
  // The block's vectors are a device's.
  bool on_device(std::uint32_t block) const { return group_.vectors != nullptr && block != summary(); }
  LeafRange own_range() const { return own_range_; }
  // The maximal subtrees of the own range.
  const std::vector<std::uint32_t>& own_subtrees() const { return own_subtrees_; }
  ActorId owner(std::uint32_t block) const { return group_.placement.owner[block]; }
  ActorId backup(std::uint32_t block) const { return group_.placement.backup[block]; }
  bool owns(std::uint32_t block) const { return owner(block) == self(); }
  // The members but this one, in order.
  const std::vector<ActorId>& peers() const { return peers_; }
  bool is_peer(ActorId actor) const { return actor != self() && ranges_.contains(actor); }
  // Runs of all blocks that `actor` owns.
  std::uint64_t owned_runs(ActorId actor) const;

  // What came from the peer `from` fits the group, and this actor is the right receiver. Errors name the
  // part's field.
  struct SumRun {
    std::uint32_t block, node, run;
  };
  Result<SumRun> check(const SumPart& part, ActorId from) const;
  struct DirectionRun {
    std::uint32_t block, run;
  };
  Result<DirectionRun> check(const DirectionPart& part, ActorId from) const;
  Status check(const Fragment& fragment, ActorId from) const;
  // `from` backs the block up, and this actor owns it.
  Status check_held(std::uint32_t block, ActorId from) const;
  // The cut of a block's fragment of `total` floats.
  RunGrid fragment_grid(std::uint64_t total) const {
    return {static_cast<std::size_t>(total), limits_.run_floats};
  }

 private:
  GroupView(const Group& group, const std::vector<std::size_t>& block_floats, const GroupLimits& limits);
  Status check_block(std::uint32_t block) const;

  const Group group_;
  const GroupLimits limits_;
  const SumTree tree_;
  std::vector<RunGrid> grids_;
  std::map<ActorId, LeafRange> ranges_;
  std::vector<ActorId> peers_;
  LeafRange own_range_;
  std::vector<std::uint32_t> own_subtrees_;
};

}  // namespace seng
