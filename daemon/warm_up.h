// The warm-up of a job's newcomers (protocol/messages/membership.h, WarmUp): who of them may be taken in
// without making the others wait. Pure. It only saves time: what it says is forgotten with every change of
// the membership, and a newcomer that does not warm up is taken in all the same.
//
//                1 begin           2 its word, or too late          3 over
//   (unknown) ----------> warming -------------------------> done ---------> (unknown)
//
// 1 The policy wants newcomers: all of them are told, those that follow already go on.
// 2 It has caught up, or given up; or it has not shown progress for `warm_up_stall_s`, or not caught up
// within
//   `warm_up_s`.
// 3 A membership begins, or the job does not train any more.
//
// Of a warm-up that a daemon before this one had ordered only the members know: it lasts until another order.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "daemon/timeouts.h"
#include "protocol/base/ids.h"

namespace seng {

class WarmUps {
 public:
  // `incarnation`: of the head; numbers of a later one are larger.
  WarmUps(const Timeouts& timeouts, std::uint64_t incarnation)
      : timeouts_(timeouts), number_(incarnation << 32) {}

  // Returns the number that the order has. Without newcomers nobody warms up any more.
  std::uint64_t begin(const std::vector<ActorId>& newcomers, double now);
  void over();
  // The members may serve newcomers of a daemon before.
  void adopt() { former_ = true; }
  bool former() const { return former_; }

  // True: it is the first word on the newest order.
  bool said(ActorId actor, std::uint64_t number);
  // A heartbeat; the counter grows with what it has done, unless it waits for a step of the group.
  void heard(ActorId actor, std::uint64_t counter, bool waits, double now);
  // Whose time is up; they count as done from here on.
  std::vector<ActorId> expire(double now);

  std::vector<ActorId> newcomers() const;
  bool done(ActorId actor) const;
  std::optional<double> deadline() const;

 private:
  enum class State { kWarming, kDone };
  struct Newcomer {
    State state = State::kWarming;
    std::uint64_t counter = 0;
    double stalls_at = 0;
  };
  // The only one that changes a newcomer's state. False: it is done already, or unknown.
  bool finish(ActorId actor);

  const Timeouts& timeouts_;
  std::uint64_t number_;
  bool former_ = false;
  double ends_at_ = 0;
  std::map<ActorId, Newcomer> newcomers_;
};

}  // namespace seng
