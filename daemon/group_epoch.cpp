#include "daemon/group_epoch.h"

#include <algorithm>
#include <set>

#include "protocol/base/error.h"

namespace seng {

void cut_ranges(std::uint32_t micro_batches, std::vector<Member>& members) {
  SENG_CHECK(!members.empty() && members.size() <= micro_batches, "members without a micro-batch");
  const auto count = static_cast<std::uint32_t>(members.size());
  std::vector<std::uint32_t> sizes;
  for (std::uint32_t i = 0; i < count; ++i)
    sizes.push_back(micro_batches / count + (i < micro_batches % count ? 1 : 0));
  cut_ranges(micro_batches, members, sizes);
}

void cut_ranges(std::uint32_t micro_batches, std::vector<Member>& members,
                const std::vector<std::uint32_t>& sizes) {
  SENG_CHECK(sizes.size() == members.size(), "ranges of others");
  std::uint32_t next = 0;
  for (std::size_t i = 0; i < members.size(); ++i) {
    SENG_CHECK(sizes[i] > 0, "an empty range");
    members[i].first_micro = next;
    next += sizes[i];
    members[i].last_micro = next;
  }
  SENG_CHECK(next == micro_batches, "ranges that are not the batch");
}

std::string_view phase_name(GroupEpochs::Phase phase) {
  switch (phase) {
    case GroupEpochs::Phase::kIdle:
      return "idle";
    case GroupEpochs::Phase::kPersisting:
      return "persisting";
    case GroupEpochs::Phase::kParking:
      return "parking";
    case GroupEpochs::Phase::kReadying:
      return "readying";
    case GroupEpochs::Phase::kTraining:
      return "training";
    case GroupEpochs::Phase::kBroken:
      return "broken";
  }
  return "";
}

GroupEpochs::GroupEpochs(std::uint32_t micro_batches, std::uint64_t incarnation, std::uint64_t counter)
    : micro_batches_(micro_batches),
      incarnation_(incarnation),
      counter_(counter),
      epoch_{incarnation, counter} {}

void GroupEpochs::adopt(const GroupEpoch& epoch, const Reconfigure& membership, bool training,
                        const std::set<ActorId>& holders, const std::set<ActorId>& may_hold) {
  SENG_CHECK(phase_ == Phase::kIdle && epoch.incarnation < incarnation_, "adopting late");
  epoch_ = epoch;
  members_ = membership.members;
  if (!training) leavers_ = membership.leavers;
  holders_ = may_hold_ = holders;
  may_hold_.insert(may_hold.begin(), may_hold.end());
  change_phase(training ? Phase::kTraining : Phase::kBroken);
}

void GroupEpochs::start_over() {
  members_.clear();
  leavers_.clear();
  forget_states();
  change_phase(Phase::kIdle);
}

const Member* GroupEpochs::member(ActorId actor) const {
  const auto found =
      std::find_if(members_.begin(), members_.end(), [&](const Member& m) { return m.actor == actor; });
  return found == members_.end() ? nullptr : &*found;
}

bool GroupEpochs::takes_part(ActorId actor) const {
  return member(actor) != nullptr ||
         std::any_of(leavers_.begin(), leavers_.end(), [&](const Member& m) { return m.actor == actor; });
}

std::vector<ActorId> GroupEpochs::awaited() const {
  std::vector<ActorId> out;
  for (const Member& m : members_) {
    if ((phase_ == Phase::kParking && !parked_.contains(m.actor)) ||
        (phase_ == Phase::kReadying && !ready_.contains(m.actor))) {
      out.push_back(m.actor);
    }
  }
  for (const Member& m : leavers_) {
    if (phase_ == Phase::kParking && !parked_.contains(m.actor)) out.push_back(m.actor);
  }
  return out;
}

void GroupEpochs::change_phase(Phase next) {
  phase_ = next;
}

std::string GroupEpochs::misfit(ActorId actor, const GroupEpoch& epoch) const {
  if (epoch < epoch_) return "stale: of epoch " + to_string(epoch) + ", this is " + to_string(epoch_);
  if (epoch > epoch_) return "of epoch " + to_string(epoch) + ", which was never announced";
  if (!takes_part(actor)) return "actor " + std::to_string(actor) + " is no member";
  return "";
}

EpochOutcome GroupEpochs::on(const EpochEvent& event) {
  return std::visit([this](const auto& e) { return on_event(e); }, event);
}

EpochOutcome GroupEpochs::on_event(const epoch_event::Begin& event) {
  std::set<ActorId> distinct;
  bool held = false;
  for (const auto* list : {&event.members, &event.leavers}) {
    for (const Member& m : *list) {
      SENG_CHECK(distinct.insert(m.actor).second, "a member twice");
      held = held || holds_state(m.actor) || follows_state(m.actor);
    }
  }
  members_ = event.members;
  leavers_ = event.leavers;
  if (event.sizes.empty()) {
    cut_ranges(micro_batches_, members_);
  } else {
    cut_ranges(micro_batches_, members_, event.sizes);
  }
  for (Member& m : leavers_) m.first_micro = m.last_micro = 0;
  restore_ = event.restore || !held;
  // Only a group that trains has a step to finish. All park at once for the first epoch of another head: who
  // was left out of the one before may not know it.
  planned_ = event.planned && !restore_ && phase_ == Phase::kTraining && epoch_.incarnation == incarnation_;
  follows_ = epoch_;
  checkpoint_ = event.checkpoint;
  if (restore_) forget_states();
  epoch_ = {incarnation_, ++counter_};
  parked_.clear();
  ready_.clear();
  change_phase(Phase::kPersisting);
  return {{epoch_action::Persist{epoch_, membership()}}, ""};
}

EpochOutcome GroupEpochs::on_event(const epoch_event::Persisted& event) {
  if (event.epoch != epoch_ || phase_ != Phase::kPersisting) return {{}, "nothing waits for it"};
  change_phase(Phase::kParking);
  return {{epoch_action::Announce{membership()}}, ""};
}

void GroupEpochs::forget_state(ActorId actor) {
  holders_.erase(actor);
  may_hold_.erase(actor);
  followed_.erase(actor);
}

void GroupEpochs::forget_states() {
  holders_.clear();
  may_hold_.clear();
  followed_.clear();
}

// Whose applied step and curvature count: a newcomer parks with step 0 and has nothing. One that has followed
// may know a step of which nobody else has the curvature: the others' state comes first.
bool GroupEpochs::counts(ActorId actor, std::uint64_t applied_step) const {
  if (restore_) return actor == members_.front().actor;
  if (only_followed()) return followed_.contains(actor) && applied_step > 0;
  // One whose Ready came too late has pulled all the same.
  return holders_.contains(actor) || (may_hold_.contains(actor) && applied_step > 0);
}

bool GroupEpochs::only_followed() const {
  return !restore_ && std::ranges::none_of(parked_, [&](const auto& entry) {
    return holders_.contains(entry.first) ||
           (may_hold_.contains(entry.first) && entry.second.applied_step > 0);
  });
}

Assign GroupEpochs::make_assign() const {
  Assign out;
  for (const auto& [actor, p] : parked_) {
    if (counts(actor, p.applied_step)) out.lineage = std::max(out.lineage, p.lineage);
  }
  const auto holds = [&](ActorId actor, const Parked& p) {
    return counts(actor, p.applied_step) && p.lineage == out.lineage;
  };
  for (const auto& [actor, p] : parked_) {
    if (holds(actor, p)) out.base_step = std::max(out.base_step, p.applied_step);
  }
  std::map<std::pair<std::uint32_t, std::uint64_t>, CurvatureHolders> versions;
  for (const auto& [actor, p] : parked_) {
    if (!holds(actor, p)) continue;
    if (p.applied_step == out.base_step) out.holders.push_back(actor);
    for (const HeldCurvature& held : p.curvature) {
      if (held.step > out.base_step) continue;  // of a step that nobody has applied
      CurvatureHolders& version = versions[{held.block, held.step}];
      version.block = held.block;
      version.step = held.step;
      const bool listed = !version.holders.empty() && version.holders.back() == actor;
      if (!listed) version.holders.push_back(actor);
    }
  }
  for (auto& [key, version] : versions) out.curvature.push_back(std::move(version));
  return out;
}

EpochOutcome GroupEpochs::on_event(const epoch_event::Parked& event) {
  if (std::string why = misfit(event.actor, event.epoch); !why.empty()) return {{}, std::move(why)};
  if (phase_ != Phase::kParking) return {{}, "Parked while " + std::string(phase_name(phase_))};
  if (!parked_.emplace(event.actor, Parked{event.applied_step, event.curvature, event.lineage}).second)
    return {{}, "parked already"};
  if (parked_.size() < members_.size() + leavers_.size()) return {};
  Assign assign = make_assign();
  const bool behind = !restore_ && assign.base_step < checkpoint_;
  if (assign.holders.empty() || behind) {
    // Others, not here now, may still hold one; and one that has followed may know more than those that
    // counted.
    for (const auto& [actor, p] : parked_) {
      if (!behind || p.applied_step < checkpoint_) forget_state(actor);
    }
    change_phase(Phase::kBroken);
    return {};
  }
  fell_back_ = only_followed();
  for (const Member& m : members_) may_hold_.insert(m.actor);
  base_step_ = assign.base_step;
  change_phase(Phase::kReadying);
  return {{epoch_action::AssignAll{std::move(assign)}}, ""};
}

EpochOutcome GroupEpochs::on_event(const epoch_event::Ready& event) {
  if (std::string why = misfit(event.actor, event.epoch); !why.empty()) return {{}, std::move(why)};
  if (phase_ != Phase::kReadying) return {{}, "Ready while " + std::string(phase_name(phase_))};
  if (member(event.actor) == nullptr) return {{}, "Ready from a leaver"};
  if (!ready_.insert(event.actor).second) return {{}, "ready already"};
  holders_.insert(event.actor);
  followed_.erase(event.actor);
  if (ready_.size() < members_.size()) return {};
  change_phase(Phase::kTraining);
  trained_ = epoch_;
  trained_from_ = base_step_;
  EpochOutcome out{{epoch_action::ResumeAll{base_step_, restore_ || fell_back_}}, ""};
  if (!leavers_.empty()) {
    epoch_action::RetireAll retire;
    for (const Member& m : leavers_) retire.leavers.push_back(m.actor);
    out.actions.push_back(std::move(retire));
    leavers_.clear();
  }
  return out;
}

EpochOutcome GroupEpochs::on_event(const epoch_event::StateLost& event) {
  if (std::string why = misfit(event.actor, event.epoch); !why.empty()) return {{}, std::move(why)};
  if (phase_ != Phase::kReadying) return {{}, "StateLost while " + std::string(phase_name(phase_))};
  if (fell_back_) {
    // Others may hold an older step, and all of it.
    for (const auto& [actor, p] : parked_) forget_state(actor);
  } else {
    forget_states();
  }
  change_phase(Phase::kBroken);
  return {};
}

EpochOutcome GroupEpochs::on_event(const epoch_event::Lost& event) {
  forget_state(event.actor);
  if (!takes_part(event.actor)) return {{}, "actor " + std::to_string(event.actor) + " is no member"};
  if (phase_ == Phase::kIdle || phase_ == Phase::kBroken) return {{}, "the group does not run"};
  change_phase(Phase::kBroken);
  return {};
}

EpochOutcome GroupEpochs::on_event(const epoch_event::Followed& event) {
  if (phase_ != Phase::kTraining) return {{}, "it follows a membership that has passed"};
  followed_.insert(event.actor);
  if (!takes_part(event.actor)) {
    // It was left out once: what it has now is what it has followed to, as any newcomer.
    holders_.erase(event.actor);
    may_hold_.erase(event.actor);
  }
  return {};
}

}  // namespace seng
