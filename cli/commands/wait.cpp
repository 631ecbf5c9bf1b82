#include <algorithm>
#include <chrono>

#include <fmt/format.h>

#include "cli/command.h"
#include "cli/follow.h"
#include "cli/several_jobs.h"

namespace seng {

ExitCode run_wait(const Arguments& arguments, Session& session) {
  using Clock = std::chrono::steady_clock;
  const auto begin = Clock::now();
  const bool alone = arguments.operands().size() == 1;
  const bool table = arguments.format() == OutputFormat::kTable;
  FollowOptions options;
  options.display.progress = options.display.epochs = false;
  options.until_step = arguments.number("step");
  options.come_back = session.again();
  std::vector<JobRecord> jobs;
  const ExitCode code = for_each_job(arguments, [&](const std::string& name) {
    options.timeout_seconds = arguments.seconds("timeout");
    if (options.timeout_seconds) {
      const std::chrono::duration<double> passed = Clock::now() - begin;
      options.timeout_seconds = std::max(0.0, *options.timeout_seconds - passed.count());
    }
    const auto followed = follow(session, name, options);
    if (!followed) return followed.error();
    const JobRecord& job = followed->job;
    jobs.push_back(job);
    if (table || alone) print_result(session, job, arguments.format());
    if (!options.until_step || job.step >= *options.until_step)
      return options.until_step ? ExitCode::kOk : exit_code_of(job.state);
    return session.fail(job.state == JobState::kSucceeded ? ExitCode::kNotReached : exit_code_of(job.state),
                        fmt::format("job {} ({}) ended with step {} and never reached step {}", job.id,
                                    job.name, job.step, *options.until_step));
  });
  if (!table && !alone) print_jobs(arguments, session, jobs);
  return code;
}

}  // namespace seng
