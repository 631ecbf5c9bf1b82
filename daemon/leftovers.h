// What actors that were killed leave on the disk.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "protocol/base/error.h"
#include "protocol/base/ids.h"

namespace seng {

// The sockets of actors (aJOB.ACTOR for their peers, sJOB.ACTOR for their state) in `directory`, but for
// those of actors that live. Other files stay. Returns how many there were.
int remove_sockets(const std::string& directory, const std::function<bool(JobId, ActorId)>& lives);

// Renames all files of a job but, unless `checkpoints`, those of its checkpoints to a directory
// `.deleted-...` beside its own, which is returned; empty: there was nothing. Takes no longer where there is
// much. Error: one that stays, and why.
Result<std::string> set_aside_job_files(const std::string& job_dir, bool checkpoints);
// What was set aside in `jobs_dir` and is still there.
std::vector<std::string> set_aside_in(const std::string& jobs_dir);

// Checkpoints of the job that were begun and never became whole. Only when no actor of it lives.
int remove_unfinished_checkpoints(const std::string& job_dir);

}  // namespace seng
