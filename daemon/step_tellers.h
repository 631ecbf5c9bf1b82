// Whose word on a job's steps counts, and up to which step all have been heard of. Pure.
//
// A leader speaks for the steps of its membership, also when it has passed or was another daemon's: a step's
// values do not depend on who is there. Not when the group began anew, which makes steps again. Of the steps
// that a membership goes on from every member's word counts, for their leader may have died before it told
// them. So it does in the membership of the daemon before, of which it is not known what that one had heard
// and not stored.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "daemon/group_epoch.h"
#include "protocol/messages/metrics.h"

namespace seng {

class StepTellers {
 public:
  void announced(const GroupEpoch& epoch, const Reconfigure& membership);
  // The newest membership of the daemon before.
  void adopt(const GroupEpoch& epoch) { adopted_ = epoch; }
  // A membership trains on from that step: whoever knew of one up to it has told it.
  void go_on_from(std::uint64_t step) { told_ = step; }

  // The actor leads, or led, that membership, and its word still counts. `group`: the one in hand.
  bool led(ActorId actor, const GroupEpoch& epoch, const GroupEpochs& group) const;
  // Those of the steps that an actor tells, as one of the membership `epoch`, that count.
  std::vector<StepMetrics> take(ActorId actor, const GroupEpoch& epoch, std::vector<StepMetrics> steps,
                                const GroupEpochs& group);
  // Every step up to it was heard of, or nobody knows of it any more; 0 for a daemon that has not seen
  // enough.
  std::uint64_t told() const { return told_; }

 private:
  std::map<GroupEpoch, ActorId> leaders_;  // of the last memberships, since the job began anew
  GroupEpoch adopted_;
  std::uint64_t told_ = 0;
};

}  // namespace seng
