#include "cli/several_jobs.h"

#include <algorithm>
#include <set>

#include <nlohmann/json.hpp>

#include "cli/record_values.h"

namespace seng {

ExitCode for_each_job(const Arguments& arguments,
                      const std::function<ExitCode(const std::string& job)>& run) {
  ExitCode first = ExitCode::kOk;
  std::set<std::string> seen;
  for (const std::string& job : arguments.operands()) {
    if (!seen.insert(job).second) continue;
    const ExitCode code = run(job);
    if (first == ExitCode::kOk) first = code;
    if (code == ExitCode::kInterrupted || code == ExitCode::kNoDaemon || code == ExitCode::kTimeout) break;
  }
  return first;
}

bool add_once(std::vector<JobRecord>& jobs, const JobRecord& job) {
  if (std::ranges::any_of(jobs, [&](const JobRecord& other) { return other.id == job.id; })) return false;
  jobs.push_back(job);
  return true;
}

void print_jobs(const Arguments& arguments, Session& session, const std::vector<JobRecord>& jobs) {
  if (arguments.operands().size() == 1) {
    if (!jobs.empty()) print_value(session.console(), arguments.format(), job_value(jobs.front()));
    return;
  }
  auto values = nlohmann::ordered_json::array();
  for (const JobRecord& job : jobs) values.push_back(job_value(job));
  print_value(session.console(), arguments.format(), {{"jobs", std::move(values)}});
}

}  // namespace seng
