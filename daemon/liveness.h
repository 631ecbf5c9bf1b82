// Leases: who has been heard of lately. Pure. A verdict is only reported; what
// follows from it is for the job's policy.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "daemon/timeouts.h"
#include "protocol/base/ids.h"

namespace seng {

class Liveness {
 public:
  using Key = std::pair<JobId, ActorId>;
  enum class Verdict {
    kSilent,  // nothing heard for a lease: stopped, cut off, or its machine is gone
    kHeard,   // was silent and is back
  };
  struct Finding {
    Key who;
    Verdict verdict = Verdict::kSilent;
    double silent_s = 0;  // since it was heard before
  };

  explicit Liveness(const Timeouts& timeouts) : lease_s_(timeouts.lease_s) {}

  // Starts the lease of a new actor.
  void add(Key who, double now);
  void remove(Key who) { known_.erase(who); }
  // Something came from it. Nothing is found of an unknown one.
  std::optional<Finding> heard(Key who, double now);
  // Whose lease has run out since the last call; each silence is reported once.
  std::vector<Finding> check(double now);
  // The daemon itself did not run for a while: nobody else is to blame for the silence.
  void excuse(double now);
  // When check() may next find something.
  std::optional<double> deadline() const;

 private:
  struct Lease {
    double last_heard = 0;
    bool silent = false;
  };
  double lease_s_;
  std::map<Key, Lease> known_;
};

}  // namespace seng
