// The succession of a job's memberships. Every change of members - the start as well - is the same
// transition:
//
//            1 Begin            2 Persisted          3 all Parked           4 all Ready
//   idle -----------> persisting ---------> parking -----------> readying ----------> training
//                         ^                    |                    |                    |
//                         +--------- 5 Begin --+--------------------+--------------------+
//                         |                                                              |
//                       broken <--------- 6 Lost (from every state), 7 StateLost --------+
//
// 1 Members are chosen and [0, V) is cut among them; leavers are named. The epoch is announced to nobody
//   before it is stored. It restores, if that was asked or nobody in it holds any state.
// 2 It is stored: Reconfigure goes to all members and leavers.
// 3 Everybody, the leavers too, has parked. The base step is the largest applied one of those who hold a
//   state: it was committed, and its holders are named in Assign. Per block of curvature the versions not
//   after the base step, and who holds them. Where steps made again have other bits (Parked::lineage), only
//   what those of the newest lineage hold counts. In a membership that restores only the leader's word
//   counts. Where only newcomers that have followed the group hold a state, theirs counts. If it shows that
//   nobody holds one after all, or that the newest checkpoint is newer than all of theirs (members that were
//   silent while the group went on without them hold old ones), the group is broken and the next Begin
//   restores, unless somebody who did not take part holds one, or one that has followed is not behind the
//   checkpoint.
// 4 Every member has the base step's state and its peers: Resume. The leavers are retired.
// 5 The next membership, with the next number; whatever still arrives of the one before is stale and dropped.
// 6 A member is gone, or a leaver before it was retired. The group stays broken until a Begin without it;
//   whether there is one is for the job's policy.
// 7 A member says in the place of Ready that nobody has a piece of the state: nothing counts as held any
//   more, so that the next Begin restores. Where the state was that of newcomers that have followed, only
//   what those in this membership have counts no more.
//
// Pure. Messages come from outside, in any order, twice or never: what does not fit is ignored, with a
// reason.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "protocol/base/ids.h"
#include "protocol/messages/lifecycle.h"

namespace seng {

// Cuts [0, micro_batches) among the members in their order: contiguous, sizes differ by at most one, the
// longer ones first. Requires 1 <= members.size() <= micro_batches.
void cut_ranges(std::uint32_t micro_batches, std::vector<Member>& members);
// The same with sizes that are given: one for each member, none 0, micro_batches in all.
void cut_ranges(std::uint32_t micro_batches, std::vector<Member>& members,
                const std::vector<std::uint32_t>& sizes);

namespace epoch_event {
struct Begin {
  std::vector<Member> members;  // without ranges; the first is the leader
  std::vector<Member> leavers = {};
  bool planned = false;
  bool restore = false;
  std::vector<std::uint32_t> sizes = {};  // of the members' ranges; empty: equal ones
  std::uint64_t checkpoint = 0;           // the newest one's step, behind which the group does not go back
};
struct Persisted {
  GroupEpoch epoch;
};
struct Parked {
  ActorId actor = kNoActor;
  GroupEpoch epoch;
  std::uint64_t applied_step = 0;
  std::vector<HeldCurvature> curvature = {};
  GroupEpoch lineage = {};
};
struct Ready {
  ActorId actor = kNoActor;
  GroupEpoch epoch;
};
struct StateLost {
  ActorId actor = kNoActor;
  GroupEpoch epoch;
};
struct Lost {
  ActorId actor = kNoActor;
};
// A newcomer has caught up with the group: it has the state of one of its steps. So has one that was left out
// once, in the place of what it held.
struct Followed {
  ActorId actor = kNoActor;
};
}  // namespace epoch_event

using EpochEvent =
    std::variant<epoch_event::Begin, epoch_event::Persisted, epoch_event::Parked, epoch_event::Ready,
                 epoch_event::StateLost, epoch_event::Lost, epoch_event::Followed>;

namespace epoch_action {
// Store it, durably, then send a Persisted event.
struct Persist {
  GroupEpoch epoch;
  Reconfigure membership;
};
// To every member and leaver, each in this epoch.
struct Announce {
  Reconfigure message;
};
// Likewise.
struct AssignAll {
  Assign message;
};
// To the members.
struct ResumeAll {
  std::uint64_t base_step = 0;
  bool restored = false;  // the steps behind it, if there were any, will be made again
};
struct RetireAll {
  std::vector<ActorId> leavers;
};
}  // namespace epoch_action

using EpochAction = std::variant<epoch_action::Persist, epoch_action::Announce, epoch_action::AssignAll,
                                 epoch_action::ResumeAll, epoch_action::RetireAll>;

struct EpochOutcome {
  std::vector<EpochAction> actions;
  std::string ignored;  // not empty: the event changed nothing, and why
};

class GroupEpochs {
 public:
  enum class Phase { kIdle, kPersisting, kParking, kReadying, kTraining, kBroken };

  // `incarnation`: of the head; `counter`: the newest that was ever stored under this incarnation (0: none).
  GroupEpochs(std::uint32_t micro_batches, std::uint64_t incarnation, std::uint64_t counter = 0);

  EpochOutcome on(const EpochEvent& event);

  // What a head before this one had stored: its membership, which trains if `training`, else is broken; the
  // next one is of this head. `holders` train in it, and so have a state, be it of step 0; those of
  // `may_hold` have one if they park with a step above 0. Before the first event only.
  void adopt(const GroupEpoch& epoch, const Reconfigure& membership, bool training,
             const std::set<ActorId>& holders, const std::set<ActorId>& may_hold);

  // The job has waited in the queue: it begins again, without members or states, under the next numbers.
  void start_over();

  Phase phase() const { return phase_; }
  const GroupEpoch& epoch() const { return epoch_; }
  const std::vector<Member>& members() const { return members_; }
  const std::vector<Member>& leavers() const { return leavers_; }  // not retired yet
  const Member* member(ActorId actor) const;
  bool takes_part(ActorId actor) const;  // member or leaver
  bool planned() const { return planned_; }
  // The membership before finishes a step, for a planned change: its members still report in it.
  bool finishes(const GroupEpoch& epoch) const {
    return planned_ && epoch == follows_ && (phase_ == Phase::kPersisting || phase_ == Phase::kParking);
  }
  bool restores() const { return restore_; }
  // It was told what to pull since the last restore: so it has the state of its applied step, or may have it.
  bool holds_state(ActorId actor) const { return may_hold_.contains(actor); }
  // It has followed the group, and has the state of a step, which may not be the newest.
  bool follows_state(ActorId actor) const { return followed_.contains(actor); }
  std::uint64_t base_step() const { return base_step_; }
  // Whether a step that was committed in that membership is one of those that the newest group to train went
  // on from, or its own. What a head before this one has seen it does not know.
  bool stands(const GroupEpoch& epoch, std::uint64_t step) const {
    return epoch >= trained_ || step <= trained_from_;
  }
  // Who has not answered yet in this phase, for `describe`.
  std::vector<ActorId> awaited() const;

 private:
  void change_phase(Phase next);
  EpochOutcome on_event(const epoch_event::Begin& event);
  EpochOutcome on_event(const epoch_event::Persisted& event);
  EpochOutcome on_event(const epoch_event::Parked& event);
  EpochOutcome on_event(const epoch_event::Ready& event);
  EpochOutcome on_event(const epoch_event::StateLost& event);
  EpochOutcome on_event(const epoch_event::Lost& event);
  EpochOutcome on_event(const epoch_event::Followed& event);
  // Empty if the message is of this epoch, from one who takes part; else why not.
  std::string misfit(ActorId actor, const GroupEpoch& epoch) const;
  bool counts(ActorId actor, std::uint64_t applied_step) const;
  bool only_followed() const;
  void forget_state(ActorId actor);
  void forget_states();
  Assign make_assign() const;
  Reconfigure membership() const { return {members_, leavers_, planned_, restore_, follows_}; }

  const std::uint32_t micro_batches_;
  const std::uint64_t incarnation_;
  std::uint64_t counter_;
  Phase phase_ = Phase::kIdle;
  GroupEpoch epoch_;
  std::vector<Member> members_, leavers_;
  bool planned_ = false, restore_ = false;
  GroupEpoch follows_;                // the one before; planned: it finishes its step first
  std::map<ActorId, Parked> parked_;  // who has parked in this epoch, and with what
  std::set<ActorId> ready_;           // who is ready in this epoch
  std::set<ActorId> holders_;         // were ready since the last restore
  std::set<ActorId> may_hold_;        // see holds_state(); a step above 0 shows that they do
  std::set<ActorId> followed_;        // newcomers that have followed the group since the last restore
  std::uint64_t base_step_ = 0;
  GroupEpoch trained_;              // the newest membership that has come to train under this head,
  std::uint64_t trained_from_ = 0;  // and its base step
  std::uint64_t checkpoint_ = 0;    // see Begin
  bool fell_back_ = false;          // to what one who followed has
};

std::string_view phase_name(GroupEpochs::Phase phase);

}  // namespace seng
