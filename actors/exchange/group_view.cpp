#include "actors/exchange/group_view.h"

#include <algorithm>
#include <limits>
#include <set>
#include <string>

#include <fmt/format.h>

namespace seng {
namespace {

template <class... Args>
tl::unexpected<Error> unfit(fmt::format_string<Args...> format, Args&&... args) {
  return fail(ErrorCode::kInvalidArgument, "group: " + fmt::format(format, std::forward<Args>(args)...));
}

template <class... Args>
tl::unexpected<Error> refuse(fmt::format_string<Args...> format, Args&&... args) {
  return fail(ErrorCode::kInvalidArgument, fmt::format(format, std::forward<Args>(args)...));
}

Status check_members(const Group& group) {
  if (group.micro_batches < 1 || group.micro_batches > kMaxMicroBatches) {
    return unfit("{} micro-batches; 1 to {} are possible", group.micro_batches, kMaxMicroBatches);
  }
  if (group.members.empty()) return unfit("no members");
  std::set<ActorId> ids;
  std::uint32_t next = 0;
  for (const Member& member : group.members) {
    if (member.actor == kNoActor || !ids.insert(member.actor).second) {
      return unfit("actor {} is there twice or has no number", member.actor);
    }
    if (member.first_micro != next || member.last_micro < next) {
      return unfit("actor {} has the micro-batches [{}, {}) where {} comes next", member.actor,
                   member.first_micro, member.last_micro, next);
    }
    next = member.last_micro;
  }
  if (next != group.micro_batches)
    return unfit("the ranges end at micro-batch {} of {}", next, group.micro_batches);
  if (!ids.contains(group.self)) return unfit("actor {} is not a member", group.self);
  return {};
}

Status check_placement(const Group& group, std::size_t blocks) {
  const Placement& placement = group.placement;
  if (placement.owner.size() != blocks || placement.backup.size() != blocks) {
    return unfit("owners of {} and backups of {} blocks where there are {}", placement.owner.size(),
                 placement.backup.size(), blocks);
  }
  auto is_member = [&](ActorId actor) {
    return std::ranges::any_of(group.members, [&](const Member& member) { return member.actor == actor; });
  };
  for (std::size_t block = 0; block < blocks; ++block) {
    const ActorId owner = placement.owner[block], backup = placement.backup[block];
    if (!is_member(owner)) return unfit("block {}'s owner, actor {}, is not a member", block, owner);
    if (backup != kNoActor && (backup == owner || !is_member(backup))) {
      return unfit("block {}'s backup, actor {}, is its owner or not a member", block, backup);
    }
  }
  if (placement.owner.back() != group.members[0].actor)
    return unfit("the summary's owner is not the first member");
  for (const Member& member : group.members) {
    if (member.first_micro == member.last_micro && std::ranges::count(placement.owner, member.actor) == 0) {
      return unfit(
          "actor {} has neither a micro-batch nor a block: there are more actors than work; lower actors.max",
          member.actor);
    }
  }
  return {};
}

}  // namespace

Result<std::shared_ptr<const GroupView>> GroupView::create(const Group& group,
                                                           const std::vector<std::size_t>& block_floats,
                                                           const GroupLimits& limits) {
  SENG_TRY(check_members(group));
  SENG_TRY(check_placement(group, block_floats.size() + 1));
  for (std::size_t block = 0; block < block_floats.size(); ++block) {
    if (block_floats[block] == 0 ||
        block_floats[block] / limits.run_floats >= std::numeric_limits<std::uint32_t>::max()) {
      return unfit("block {} has {} values", block, block_floats[block]);
    }
  }
  if (!group.fragment_floats.empty() && group.fragment_floats.size() != block_floats.size()) {
    return unfit("fragment sizes of {} blocks where there are {}", group.fragment_floats.size(),
                 block_floats.size());
  }
  return std::shared_ptr<const GroupView>(new GroupView(group, block_floats, limits));
}

GroupView::GroupView(const Group& group, const std::vector<std::size_t>& block_floats,
                     const GroupLimits& limits)
    : group_(group), limits_(limits), tree_(group.micro_batches) {
  for (const std::size_t floats : block_floats) grids_.push_back({floats, limits_.run_floats});
  grids_.push_back({kSummaryFloats, limits_.run_floats});
  for (const Member& member : group_.members) {
    ranges_[member.actor] = {member.first_micro, member.last_micro};
    if (member.actor != group_.self) peers_.push_back(member.actor);
  }
  own_range_ = ranges_[group_.self];
  own_subtrees_ = tree_.maximal_subtrees(own_range_);
}

std::uint64_t GroupView::owned_runs(ActorId actor) const {
  std::uint64_t runs = 0;
  for (std::uint32_t block = 0; block < blocks(); ++block) {
    if (owner(block) == actor) runs += grids_[block].runs();
  }
  return runs;
}

Status GroupView::check_block(std::uint32_t block) const {
  if (block >= blocks()) return refuse("block {} of {}", block, blocks());
  return {};
}

Result<GroupView::SumRun> GroupView::check(const SumPart& part, ActorId from) const {
  SENG_TRY(check_block(part.block));
  if (!owns(part.block)) return refuse("block {} is actor {}'s, not ours", part.block, owner(part.block));
  const LeafRange range{part.first, part.last};
  const auto node = tree_.find(range);
  if (!node)
    return refuse("micro-batches {} are no node of the tree over {}", to_string(range), tree_.leaves());
  const LeafRange sender = ranges_.at(from);
  if (!sender.contains(range)) {
    return refuse("micro-batches {} are not within the sender's {}", to_string(range), to_string(sender));
  }
  const auto run = grids_[part.block].find(part.offset, part.count);
  if (!run) {
    return refuse("block {}: {} values at offset {} are no run of its {}", part.block, part.count,
                  part.offset, grids_[part.block].floats);
  }
  return SumRun{part.block, *node, *run};
}

Result<GroupView::DirectionRun> GroupView::check(const DirectionPart& part, ActorId from) const {
  SENG_TRY(check_block(part.block));
  if (owner(part.block) != from) {
    return refuse("a direction of block {}, whose owner is actor {}", part.block, owner(part.block));
  }
  const auto run = grids_[part.block].find(part.offset, part.count);
  if (!run) {
    return refuse("block {}: {} values at offset {} are no run of its {}", part.block, part.count,
                  part.offset, grids_[part.block].floats);
  }
  if (!part.model.empty() && part.model.size() != kModelTerms)
    return refuse("block {}: a model of {} numbers instead of {}", part.block, part.model.size(),
                  kModelTerms);
  return DirectionRun{part.block, *run};
}

Status GroupView::check_held(std::uint32_t block, ActorId from) const {
  SENG_TRY(check_block(block));
  if (!owns(block)) return refuse("block {} is actor {}'s, not ours", block, owner(block));
  if (backup(block) != from) return refuse("block {}'s backup is another", block);
  return {};
}

Status GroupView::check(const Fragment& fragment, ActorId from) const {
  SENG_TRY(check_block(fragment.block));
  if (fragment.block == summary()) return refuse("a fragment of the summary");
  if (!owns(fragment.block) && backup(fragment.block) != self()) {
    return refuse("a fragment of block {}, which is neither owned nor backed up here", fragment.block);
  }
  const LeafRange sender = ranges_.at(from);
  if (fragment.micro < sender.first || fragment.micro >= sender.last) {
    return refuse("micro-batch {} is not within the sender's {}", fragment.micro, to_string(sender));
  }
  if (!group_.fragment_floats.empty()) {
    const std::uint64_t expected = group_.fragment_floats[fragment.block];
    if (fragment.total != expected) {
      return refuse("block {}'s fragment of {} values, where it has {}", fragment.block, fragment.total,
                    expected);
    }
  } else if (fragment.total > limits_.max_fragment_floats) {
    return refuse("block {}'s fragment of {} values; at most {} are taken", fragment.block, fragment.total,
                  limits_.max_fragment_floats);
  }
  if (!fragment_grid(fragment.total).find(fragment.offset, fragment.count)) {
    return refuse("block {}: {} values at offset {} are no run of a fragment of {}", fragment.block,
                  fragment.count, fragment.offset, fragment.total);
  }
  return {};
}

}  // namespace seng
