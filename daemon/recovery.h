// What a daemon does with the jobs of the one before it. Pure.
//
// A job that had a membership is adopted: its actors that live are taken over, by pid, start time and token,
// and go on; where none lives new ones resume from the newest checkpoint. One that had not come that far is
// queued again, and what it had started is ended.
#pragma once

#include <string>
#include <vector>

#include "daemon/process_runner.h"
#include "daemon/store.h"

namespace seng {

struct Recovery {
  enum class Verdict { kKeep, kQueue, kAdopt } verdict = Verdict::kKeep;
  std::vector<StartedProcess> leftovers;  // to be ended, of any job: they had not exited
};

// Where a job's file is now, of the path that a daemon stored for it: the state directory may have been moved
// since, and its jobs' files with it. A path that is not of the job's directory stays as it is.
std::string place_now(const std::string& stored, const std::string& job_dir);

Recovery recover_job(const JobRecord& record, const std::vector<StoredActor>& actors, bool had_membership);

}  // namespace seng
