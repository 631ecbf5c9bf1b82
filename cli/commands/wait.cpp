#include <fmt/format.h>

#include "cli/command.h"
#include "cli/follow.h"

namespace seng {

ExitCode run_wait(const Arguments& arguments, Session& session) {
  FollowOptions options;
  options.display.progress = options.display.epochs = false;
  options.timeout_seconds = arguments.seconds("timeout");
  options.until_step = arguments.number("step");
  const auto followed = follow(session, arguments.operand(0), options);
  if (!followed) return followed.error();
  print_result(session, followed->job, arguments.format());
  const JobRecord& job = followed->job;
  if (options.until_step && job.state == JobState::kSucceeded && job.step < *options.until_step)
    return session.fail(ExitCode::kNotReached,
                        fmt::format("job {} ({}) ended with step {} and never reached step {}", job.id,
                                    job.name, job.step, *options.until_step));
  return exit_code_of(job.state);
}

}  // namespace seng
