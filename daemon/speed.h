// How fast a job's actors compute, and how the micro-batches of a batch are cut by it. Pure. One per job.
//
// An actor's Progress counts micro-batches and the wall time that they took. Over windows of a lease that
// gives seconds per micro-batch; the median of the last windows is the actor's speed, so that one long pause
// is nobody's speed, but pauses that go on are (a stopped or starved process loses wall time). Cuts only move
// the work: which values come out does not depend on them.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <vector>

#include "daemon/timeouts.h"
#include "protocol/messages/lifecycle.h"

namespace seng {

struct ActorSpeed {
  double micro_seconds = 0;  // wall time of a micro-batch on one of its lanes
  std::uint32_t lanes = 1;   // micro-batches at a time
};

// Seconds until it has computed so many.
double compute_seconds(const ActorSpeed& speed, std::uint32_t micro_batches);
// The longest of them. `sizes` are of the same actors, in their order.
double slowest_seconds(const std::vector<ActorSpeed>& speeds, const std::vector<std::uint32_t>& sizes);
// How many each gets: at least one, and so that the slowest is done as early as possible; of equal ones the
// first get the odd ones. Requires 1 <= speeds.size() <= micro_batches, speeds above 0.
std::vector<std::uint32_t> share_out(std::uint32_t micro_batches, const std::vector<ActorSpeed>& speeds);

class Speed {
 public:
  struct Share {
    ActorId actor = kNoActor;
    std::uint32_t lanes = 1;
    std::uint32_t micro_batches = 0;  // of its range now
  };

  Speed(const Timeouts& timeouts, std::uint32_t micro_batches)
      : lease_s_(timeouts.lease_s), rest_s_(timeouts.rebalance_s()), micro_batches_(micro_batches) {}

  void heard(ActorId actor, const Progress& report, double now);
  void forget(ActorId actor) { tracks_.erase(actor); }
  // The members of the membership that trains now, the leader first; after its reports.
  void look(const std::vector<Share>& members, double now);
  // The last looks all found that steps would be shorter by much with other ranges, and the last time that
  // was acted upon is long enough ago.
  bool uneven(double now) const;
  // Another membership trains, or one with the same members in other ranges.
  void resumed() { in_a_row_ = 0; }
  void rebalanced(double now) { rebalanced_at_ = now; }

  // Seconds per micro-batch; nothing before it is known well enough.
  std::optional<double> micro_seconds(ActorId actor) const;
  // The ranges' sizes for these members; who is new is taken for an average one. Empty: equal ranges are as
  // good, or nothing is known.
  std::vector<std::uint32_t> sizes(const std::vector<Share>& members) const;

 private:
  struct Track {
    bool begun = false;
    double since = 0;  // of the window
    std::uint64_t micro_batches = 0, step = 0;
    double seconds = 0;
    std::deque<double> micro_seconds, step_seconds;  // of the last windows
  };
  // Empty if nobody's is known, or, with `all`, somebody's is not.
  std::vector<ActorSpeed> speeds(const std::vector<Share>& members, bool all) const;

  double lease_s_, rest_s_;
  std::uint32_t micro_batches_;
  std::map<ActorId, Track> tracks_;
  double looked_at_ = -1e300, rebalanced_at_ = -1e300;
  int in_a_row_ = 0;
};

}  // namespace seng
