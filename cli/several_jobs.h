// Commands that take several jobs: each by itself, in the order given.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "cli/command.h"
#include "protocol/messages/records.h"

namespace seng {

// Every operand, the same word once; the exit code of the first that has another than 0. Ctrl-C and an absent
// daemon end it.
ExitCode for_each_job(const Arguments& arguments, const std::function<ExitCode(const std::string& job)>& run);
// Adds it, unless it is there already: a job may be given by its number and by its name.
bool add_once(std::vector<JobRecord>& jobs, const JobRecord& job);
// JSON or YAML: of one operand *job* itself, of several {jobs: [job]}.
void print_jobs(const Arguments& arguments, Session& session, const std::vector<JobRecord>& jobs);

}  // namespace seng
