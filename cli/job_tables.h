// Tables that several commands print.
#pragma once

#include <vector>

#include "cli/table.h"
#include "protocol/messages/records.h"

namespace seng {

Table job_table(const std::vector<JobRecord>& jobs);
Table actor_table(const std::vector<ActorRecord>& actors);
Table slot_table(const std::vector<NodeRecord>& nodes);
Table gpu_table(const std::vector<NodeRecord>& nodes);  // no rows where no node has one
// One event, one line.
std::string event_line(const EventRecord& event, const Console& console);
// A line of talk for each job whose newest checkpoint cannot be written.
void print_checkpoint_notes(const std::vector<JobRecord>& jobs, Console& console);
// "name:   value" lines of a job, those without a value left out.
void print_job(const JobRecord& job, Console& console);

}  // namespace seng
