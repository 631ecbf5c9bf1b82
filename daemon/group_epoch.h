// The succession of a job's memberships. Every change of members - the start as well - is the same
// transition:
//
//            1 Begin            2 Persisted          3 all Parked           4 all Ready
//   idle -----------> persisting ---------> parking -----------> readying ----------> training
//                         ^                    |                    |                    |
//                         +--------- 5 Begin --+--------------------+--------------------+
//                         |                                                              |
//                       broken <---------------------- 6 Lost (from every state) --------+
//
// 1 Members are chosen and [0, V) is cut among them. The epoch is announced to nobody before it is stored.
// 2 It is stored: Reconfigure goes to all members.
// 3 Everybody has dropped the step in flight. The base step is the largest applied one: it was committed, and
// its
//   holders are named in Assign.
// 4 Everybody has the base step's state and its peers: Resume.
// 5 The next membership, with the next number; whatever still arrives of the one before is stale and dropped.
// 6 A member is gone. The group stays broken until a Begin without it; whether there is one is for the job's
// policy.
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

namespace epoch_event {
struct Begin {
  std::vector<Member> members;  // without ranges; the first is the leader
};
struct Persisted {
  GroupEpoch epoch;
};
struct Parked {
  ActorId actor = kNoActor;
  GroupEpoch epoch;
  std::uint64_t applied_step = 0;
};
struct Ready {
  ActorId actor = kNoActor;
  GroupEpoch epoch;
};
struct Lost {
  ActorId actor = kNoActor;
};
}  // namespace epoch_event

using EpochEvent = std::variant<epoch_event::Begin, epoch_event::Persisted, epoch_event::Parked,
                                epoch_event::Ready, epoch_event::Lost>;

namespace epoch_action {
// Store it, durably, then send a Persisted event.
struct Persist {
  GroupEpoch epoch;
  std::vector<Member> members;
};
// To every member, each in this epoch.
struct Announce {
  Reconfigure message;
};
struct AssignAll {
  Assign message;
};
struct ResumeAll {
  std::uint64_t base_step = 0;
};
}  // namespace epoch_action

using EpochAction = std::variant<epoch_action::Persist, epoch_action::Announce, epoch_action::AssignAll,
                                 epoch_action::ResumeAll>;

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

  Phase phase() const { return phase_; }
  const GroupEpoch& epoch() const { return epoch_; }
  const std::vector<Member>& members() const { return members_; }
  const Member* member(ActorId actor) const;
  std::uint64_t base_step() const { return base_step_; }
  // Who has not answered yet in this phase, for `describe`.
  std::vector<ActorId> awaited() const;

 private:
  void change_phase(Phase next);
  EpochOutcome on_event(const epoch_event::Begin& event);
  EpochOutcome on_event(const epoch_event::Persisted& event);
  EpochOutcome on_event(const epoch_event::Parked& event);
  EpochOutcome on_event(const epoch_event::Ready& event);
  EpochOutcome on_event(const epoch_event::Lost& event);
  // Empty if the message is of this epoch, from a member; else why not.
  std::string misfit(ActorId actor, const GroupEpoch& epoch) const;

  const std::uint32_t micro_batches_;
  Phase phase_ = Phase::kIdle;
  GroupEpoch epoch_;
  std::vector<Member> members_;
  std::map<ActorId, std::uint64_t> parked_;  // applied step of who has parked in this epoch
  std::set<ActorId> ready_;                  // who is ready in this epoch
  std::uint64_t base_step_ = 0;
};

std::string_view phase_name(GroupEpochs::Phase phase);

}  // namespace seng
