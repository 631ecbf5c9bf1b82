// What a daemon does with the jobs of the one before it. Pure.
//
// A job that had a membership is adopted: its actors that live are taken over, by pid, start time and token,
// and go on; where none lives new ones resume from the newest checkpoint. One that had not come that far is
// queued again, and what it had started is ended.
#pragma once

#include <vector>

#include "daemon/process_runner.h"
#include "daemon/store.h"

namespace seng {

struct Recovery {
  enum class Verdict { kKeep, kQueue, kAdopt } verdict = Verdict::kKeep;
  std::vector<StartedProcess> leftovers;  // to be ended, of any job: they had not exited
};

Recovery recover_job(const JobRecord& record, const std::vector<StoredActor>& actors, bool had_membership);

}  // namespace seng
