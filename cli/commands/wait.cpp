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
  return exit_code_of(followed->job.state);
}

}  // namespace seng
