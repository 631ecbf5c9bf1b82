// Tells a hung actor from a slow one while its heartbeats go on: from what it says it does, and whether its
// counter moves. Pure. One per job; knows the members of its current membership.
//
// - Computing, or saving, without progress for longer than a slow actor needs: it hangs. Only the reports of
//   one that is heard say so: silence is the lease's matter.
// - All wait for others, or rest while some do, and nothing moves: a connection is cut. The one that most
// others
//   await goes (ties: the highest number), for one side of the cut has to. A leader that gathers the others'
//   parts of an evaluation or a checkpoint waits too; whom it awaits goes, not the leader whom all await.
// - A newcomer follows the membership to its last step, and all members have parked behind that: one to which
//   nothing comes any more is cut off from the member that it follows.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "daemon/timeouts.h"
#include "protocol/messages/lifecycle.h"

namespace seng {

class Stall {
 public:
  struct Verdict {
    ActorId actor = kNoActor;
    std::string why;  // "has computed for 4 s without progress"
  };

  explicit Stall(const Timeouts& timeouts) : timeouts_(timeouts) {}

  // A membership trains from now on; its members' clocks start anew. Empty: none trains.
  void watch(const std::vector<ActorId>& members, double now);
  // A change is planned, in which it comes to those who are watched. Of one that is watched: nothing.
  void joins(ActorId actor, double now);
  void joiner_heard(ActorId actor, const Progress& report, double now);
  void heard(ActorId actor, const Progress& report, double now);
  // It has done its part of the membership that ends, and takes no part in the wait of the others.
  void parked(ActorId actor, double now);
  // Nothing is heard of it: its last report says nothing any more, until the next.
  void silent(ActorId actor);
  void lost(ActorId actor) {
    watched_.erase(actor);
    joiners_.erase(actor);
  }
  bool watches(ActorId actor) const { return watched_.contains(actor); }
  std::optional<Verdict> check(double now) const;
  // When check() may find something, if nothing is heard that changes it.
  std::optional<double> deadline() const;

 private:
  struct Watched {
    bool known = false;  // has reported in this membership
    bool parked = false;
    std::uint8_t activity = kIdle;
    std::uint64_t counter = 0, applied_step = 0;
    double moved_at = 0;  // when counter, step or activity last changed
    double mean_s = 0;    // per micro-batch; 0: not known yet
    std::vector<ActorId> awaits;
  };
  static bool gathers(const Watched& w);
  std::optional<double> limit(const Watched& w) const;
  std::optional<double> standstill_since() const;
  std::optional<double> all_parked_since() const;
  Verdict most_awaited() const;

  Timeouts timeouts_;
  std::map<ActorId, Watched> watched_;
  std::map<ActorId, Watched> joiners_;  // that have not parked
};

}  // namespace seng
