// What actors that were killed leave on the disk.
#pragma once

#include <functional>
#include <string>

#include "protocol/base/error.h"
#include "protocol/base/ids.h"

namespace seng {

// The sockets of actors (aJOB.ACTOR for their peers, sJOB.ACTOR for their state) in `directory`, but for
// those of actors that live. Other files stay. Returns how many there were.
int remove_sockets(const std::string& directory, const std::function<bool(JobId, ActorId)>& lives);

// All files of a job but, unless `checkpoints`, those of its checkpoints. Error: one that stays, and why.
Status remove_job_files(const std::string& job_dir, bool checkpoints);

// Checkpoints of the job that were begun and never became whole. Only when no actor of it lives.
int remove_unfinished_checkpoints(const std::string& job_dir);

}  // namespace seng
