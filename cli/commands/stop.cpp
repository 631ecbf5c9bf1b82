#include <fmt/format.h>

#include "cli/command.h"
#include "cli/several_jobs.h"

namespace seng {
namespace {

std::string sentence(const JobRecord& job, const Session& session) {
  if (!is_terminal(job.state))
    return fmt::format("job {} ({}) stops after its step in flight; {} waits for it\n", job.id, job.name,
                       session.command_line(fmt::format("wait {}", job.id)));
  return fmt::format("job {} ({}) has {}\n", job.id, job.name,
                     job.state == JobState::kStopped
                         ? "stopped"
                         : "ended already: " + std::string(job_state_name(job.state)));
}

}  // namespace

ExitCode run_stop(const Arguments& arguments, Session& session) {
  const bool table = arguments.format() == OutputFormat::kTable;
  std::vector<JobRecord> jobs;
  const ExitCode code = for_each_job(arguments, [&](const std::string& job) {
    const auto reply = session.client().ask<StopReply>(StopRequest{job});
    if (!reply) return session.fail(reply.error());
    jobs.push_back(reply->job);
    if (table) session.console().out << sentence(reply->job, session);
    return ExitCode::kOk;
  });
  if (!table) print_jobs(arguments, session, jobs);
  return code;
}

}  // namespace seng
