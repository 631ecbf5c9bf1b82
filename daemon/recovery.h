// What a daemon does with the jobs of the one before it. Pure.
//
// A job that ran is now failed and its processes are ended: an actor that is alive would have to be taken
// into a new membership to be of use. The seam: kEnd is where kAdopt will stand, for an actor whose pid and
// start time are those of a living process; its token lies in the store, and it connects again by itself.
#pragma once

#include <string>
#include <vector>

#include "daemon/process_runner.h"
#include "daemon/store.h"

namespace seng {

struct Recovery {
  enum class Verdict { kKeep, kQueue, kAbandon } verdict = Verdict::kKeep;
  std::string reason;                     // kAbandon
  std::vector<StartedProcess> leftovers;  // to be ended, of any job: they had not exited
};

Recovery recover_job(const JobRecord& record, const std::vector<StoredActor>& actors);

}  // namespace seng
