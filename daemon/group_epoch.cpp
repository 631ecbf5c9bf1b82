#include "daemon/group_epoch.h"

#include <algorithm>
#include <set>

#include "protocol/base/error.h"

namespace seng {

void cut_ranges(std::uint32_t micro_batches, std::vector<Member>& members) {
  SENG_CHECK(!members.empty() && members.size() <= micro_batches, "members without a micro-batch");
  const auto count = static_cast<std::uint32_t>(members.size());
  std::uint32_t next = 0;
  for (std::uint32_t i = 0; i < count; ++i) {
    members[i].first_micro = next;
    next += micro_batches / count + (i < micro_batches % count ? 1 : 0);
    members[i].last_micro = next;
  }
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
    : micro_batches_(micro_batches), epoch_{incarnation, counter} {}

const Member* GroupEpochs::member(ActorId actor) const {
  const auto found =
      std::find_if(members_.begin(), members_.end(), [&](const Member& m) { return m.actor == actor; });
  return found == members_.end() ? nullptr : &*found;
}

std::vector<ActorId> GroupEpochs::awaited() const {
  std::vector<ActorId> out;
  for (const Member& m : members_) {
    if ((phase_ == Phase::kParking && !parked_.contains(m.actor)) ||
        (phase_ == Phase::kReadying && !ready_.contains(m.actor))) {
      out.push_back(m.actor);
    }
  }
  return out;
}

void GroupEpochs::change_phase(Phase next) {
  phase_ = next;
}

std::string GroupEpochs::misfit(ActorId actor, const GroupEpoch& epoch) const {
  if (epoch < epoch_) return "stale: of epoch " + to_string(epoch) + ", this is " + to_string(epoch_);
  if (epoch > epoch_) return "of epoch " + to_string(epoch) + ", which was never announced";
  if (member(actor) == nullptr) return "actor " + std::to_string(actor) + " is no member";
  return "";
}

EpochOutcome GroupEpochs::on(const EpochEvent& event) {
  return std::visit([this](const auto& e) { return on_event(e); }, event);
}

EpochOutcome GroupEpochs::on_event(const epoch_event::Begin& event) {
  std::set<ActorId> distinct;
  for (const Member& m : event.members) distinct.insert(m.actor);
  SENG_CHECK(distinct.size() == event.members.size(), "a member twice");
  members_ = event.members;
  cut_ranges(micro_batches_, members_);
  ++epoch_.counter;
  parked_.clear();
  ready_.clear();
  change_phase(Phase::kPersisting);
  return {{epoch_action::Persist{epoch_, members_}}, ""};
}

EpochOutcome GroupEpochs::on_event(const epoch_event::Persisted& event) {
  if (event.epoch != epoch_ || phase_ != Phase::kPersisting) return {{}, "nothing waits for it"};
  change_phase(Phase::kParking);
  return {{epoch_action::Announce{Reconfigure{members_}}}, ""};
}

EpochOutcome GroupEpochs::on_event(const epoch_event::Parked& event) {
  if (std::string why = misfit(event.actor, event.epoch); !why.empty()) return {{}, std::move(why)};
  if (phase_ != Phase::kParking) return {{}, "Parked while " + std::string(phase_name(phase_))};
  if (!parked_.emplace(event.actor, event.applied_step).second) return {{}, "parked already"};
  if (parked_.size() < members_.size()) return {};
  Assign assign;
  for (const auto& [actor, step] : parked_) assign.base_step = std::max(assign.base_step, step);
  for (const Member& m : members_) {
    if (parked_.at(m.actor) == assign.base_step) assign.holders.push_back(m.actor);
  }
  base_step_ = assign.base_step;
  change_phase(Phase::kReadying);
  return {{epoch_action::AssignAll{std::move(assign)}}, ""};
}

EpochOutcome GroupEpochs::on_event(const epoch_event::Ready& event) {
  if (std::string why = misfit(event.actor, event.epoch); !why.empty()) return {{}, std::move(why)};
  if (phase_ != Phase::kReadying) return {{}, "Ready while " + std::string(phase_name(phase_))};
  if (!ready_.insert(event.actor).second) return {{}, "ready already"};
  if (ready_.size() < members_.size()) return {};
  change_phase(Phase::kTraining);
  return {{epoch_action::ResumeAll{base_step_}}, ""};
}

EpochOutcome GroupEpochs::on_event(const epoch_event::Lost& event) {
  if (member(event.actor) == nullptr) return {{}, "actor " + std::to_string(event.actor) + " is no member"};
  if (phase_ == Phase::kIdle || phase_ == Phase::kBroken) return {{}, "the group does not run"};
  change_phase(Phase::kBroken);
  return {};
}

}  // namespace seng
