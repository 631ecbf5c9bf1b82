#include <algorithm>
#include <chrono>

#include <fmt/format.h>

#include "cli/command.h"
#include "cli/follow.h"
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

// Until all have ended, however that comes out; `jobs` are then as they have ended.
ExitCode wait_for_ends(const Arguments& arguments, Session& session, std::vector<JobRecord>& jobs) {
  ExitCode first = ExitCode::kOk;
  using Clock = std::chrono::steady_clock;
  const auto begin = Clock::now();
  for (JobRecord& job : jobs) {
    FollowOptions options;
    options.display.progress = options.display.epochs = false;
    options.daemon_was_there = true;
    options.come_back = session.again();
    options.timeout_seconds = arguments.seconds("timeout");
    if (options.timeout_seconds) {
      const std::chrono::duration<double> passed = Clock::now() - begin;
      options.timeout_seconds = std::max(0.0, *options.timeout_seconds - passed.count());
    }
    const auto followed = follow(session, std::to_string(job.id), options);
    if (!followed) {
      if (first == ExitCode::kOk) first = followed.error();
      // One that was deleted meanwhile keeps nothing from the others.
      if (followed.error() != ExitCode::kNoSuchJob) return first;
      continue;
    }
    job = followed->job;
    if (arguments.format() == OutputFormat::kTable) session.console().out << sentence(job, session);
  }
  return first;
}

}  // namespace

ExitCode run_stop(const Arguments& arguments, Session& session) {
  const bool table = arguments.format() == OutputFormat::kTable, wait = arguments.has("wait");
  if (arguments.has("timeout") && !wait)
    return session.fail(ExitCode::kUsage, "stop: --timeout goes with --wait");
  std::vector<JobRecord> jobs;
  ExitCode code = for_each_job(arguments, [&](const std::string& job) {
    const auto reply = session.client().ask<StopReply>(StopRequest{job});
    if (!reply) return session.fail(reply.error());
    const bool fresh = add_once(jobs, reply->job);
    if (table && fresh && !wait) session.console().out << sentence(reply->job, session);
    return ExitCode::kOk;
  });
  // A daemon that went away may not have been asked to stop the rest.
  if (wait && code != ExitCode::kNoDaemon) {
    const ExitCode waited = wait_for_ends(arguments, session, jobs);
    if (code == ExitCode::kOk) code = waited;
  }
  if (!table) print_jobs(arguments, session, jobs);
  return code;
}

}  // namespace seng
