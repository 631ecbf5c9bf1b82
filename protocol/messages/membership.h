// How a job's actors come to a new membership: the part of the lifecycle's conversation (lifecycle.h) that is
// repeated with every change.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "protocol/base/ids.h"
#include "protocol/messages/kinds.h"

namespace seng {

// By which an actor's GPU could reach others' without the host.
struct LinkAbility {
  std::uint32_t nccl = 0;  // version of NCCL that it could use, as 22809; 0: none, or no GPU
  std::string gpu;         // with it: the GPU's UUID
  bool operator==(const LinkAbility&) const = default;
  template <class V>
  void visit(V& v) {
    v.field(1, "nccl", nccl);
    v.field(2, "gpu", gpu);
  }
};

struct Member {
  ActorId actor = kNoActor;
  std::string node;
  std::string endpoint;
  std::uint32_t first_micro = 0, last_micro = 0;  // half open; the ranges of all members cut [0, V) in order
  std::string state_endpoint;                     // where its state is pulled from
  LinkAbility link;                               // as in its ActorHello

  bool operator==(const Member&) const = default;
  template <class V>
  void visit(V& v) {
    v.field(1, "actor", actor);
    v.field(2, "node", node);
    v.field(3, "endpoint", endpoint);
    v.field(4, "first_micro", first_micro);
    v.field(5, "last_micro", last_micro);
    v.field(6, "state_endpoint", state_endpoint);
    v.field(7, "link", link);
  }
};

// The first member is the leader: it owns the step's summary, reports and writes manifests.
struct Reconfigure {
  static constexpr MessageKind kKind = MessageKind::kReconfigure;
  std::vector<Member> members;
  std::vector<Member> leavers;  // not members any more; they serve their state until Retire
  // The group finishes a step first: the leader says in a step's summary that it is the last of this
  // membership, and all park behind it. Else whoever gets this drops the step in flight and parks.
  bool planned = false;
  // All drop the state they have. The leader takes that of the newest whole checkpoint in the job's
  // directory, else of the one that the job resumes, else the job's beginning, and parks with its step, the
  // others with 0.
  bool restore = false;
  GroupEpoch follows;  // planned: the membership that finishes a step first; who is in another parks at once
  template <class V>
  void visit(V& v) {
    v.field(1, "members", members);
    v.field(2, "leavers", leavers);
    v.field(3, "planned", planned);
    v.field(4, "restore", restore);
    v.field(5, "follows.incarnation", follows.incarnation);
    v.field(6, "follows.counter", follows.counter);
  }
};

// A block's curvature, whole, as formed at the refresh of `step`.
struct HeldCurvature {
  std::uint32_t block = 0;
  std::uint64_t step = 0;
  bool operator==(const HeldCurvature&) const = default;
  template <class V>
  void visit(V& v) {
    v.field(1, "block", block);
    v.field(2, "step", step);
  }
};

struct Parked {
  static constexpr MessageKind kKind = MessageKind::kParked;
  std::uint64_t applied_step = 0;
  // What it owns or backs up; a block twice where the refresh of a step that it has not applied is whole.
  std::vector<HeldCurvature> curvature;
  // Zero where a step has the same bits whoever makes it. Else the newest membership that the sender trained
  // in or took its state from: what is held of an older one is of steps that may have been made again, to
  // other bits.
  GroupEpoch lineage;
  template <class V>
  void visit(V& v) {
    v.field(1, "applied_step", applied_step);
    v.field(2, "curvature", curvature);
    v.field(3, "lineage.incarnation", lineage.incarnation);
    v.field(4, "lineage.counter", lineage.counter);
  }
};

// Who of those that parked holds this version of the block's curvature, which is not after the base step.
// Which one is in force the state says: a refresh may have been refused.
struct CurvatureHolders {
  std::uint32_t block = 0;
  std::uint64_t step = 0;
  std::vector<ActorId> holders;
  bool operator==(const CurvatureHolders&) const = default;
  template <class V>
  void visit(V& v) {
    v.field(1, "block", block);
    v.field(2, "step", step);
    v.field(3, "holders", holders);
  }
};

struct Assign {
  static constexpr MessageKind kKind = MessageKind::kAssign;
  std::uint64_t base_step = 0;
  std::vector<ActorId> holders;  // who has the state of the base step
  std::vector<CurvatureHolders> curvature;
  GroupEpoch lineage;  // the holders', as they parked with; who parked with another has nothing of it
  std::uint64_t told_step = 0;  // the daemon has heard of every step up to it; later ones members tell again
  template <class V>
  void visit(V& v) {
    v.field(1, "base_step", base_step);
    v.field(2, "holders", holders);
    v.field(3, "curvature", curvature);
    v.field(4, "lineage.incarnation", lineage.incarnation);
    v.field(5, "lineage.counter", lineage.counter);
    v.field(6, "told_step", told_step);
  }
};

struct Ready {
  static constexpr MessageKind kKind = MessageKind::kReady;
  template <class V>
  void visit(V&) {}
};
struct Resume {
  static constexpr MessageKind kKind = MessageKind::kResume;
  template <class V>
  void visit(V&) {}
};
// To a leaver when the group goes on without it, and to the others when the leader has finished: say Finished
// and exit.
struct Retire {
  static constexpr MessageKind kKind = MessageKind::kRetire;
  template <class V>
  void visit(V&) {}
};

// In the place of Ready: no holder has a piece of the base step's state (a block's curvature whose owner and
// backup are both gone). Only a checkpoint, or the job's beginning, can bring the same bits again: the head
// answers with a Reconfigure that restores.
struct StateLost {
  static constexpr MessageKind kKind = MessageKind::kStateLost;
  std::string what;
  template <class V>
  void visit(V& v) {
    v.field(1, "what", what);
  }
};

// A newcomer catches up while the group, of the envelope's epoch, goes on training, so that the membership
// that takes it in stands still for a moment only. To the newcomers: pull the snapshot of this number from
// the source, then follow its steps. To the members: serve them. Another one takes the place of the one
// before; without newcomers nobody follows any more.
struct WarmUp {
  static constexpr MessageKind kKind = MessageKind::kWarmUp;
  std::uint64_t number = 0;   // grows
  ActorId source = kNoActor;  // the member that makes the snapshot and keeps the directions of its steps
  std::vector<ActorId> newcomers;
  std::vector<Member> members;  // of the envelope's epoch
  std::vector<Member> future;   // the membership that is meant to come; its ranges are not cut yet
  template <class V>
  void visit(V& v) {
    v.field(1, "number", number);
    v.field(2, "source", source);
    v.field(3, "newcomers", newcomers);
    v.field(4, "members", members);
    v.field(5, "future", future);
  }
};

// A newcomer's word on it: it has caught up and goes on following, or it has given up, and will pull what it
// lacks when the group takes it in. Only speed depends on it.
struct WarmedUp {
  static constexpr MessageKind kKind = MessageKind::kWarmedUp;
  std::uint64_t number = 0;    // of the WarmUp
  std::uint64_t step = 0;      // of its state
  std::uint64_t bytes = 0;     // pulled: the snapshot, steps and curvature
  std::string gave_up;         // not empty: why
  std::uint64_t followed = 0;  // steps that the group committed meanwhile, and it applied
  template <class V>
  void visit(V& v) {
    v.field(1, "number", number);
    v.field(2, "step", step);
    v.field(3, "bytes", bytes);
    v.field(4, "gave_up", gave_up);
    v.field(5, "followed", followed);
  }
};

}  // namespace seng
