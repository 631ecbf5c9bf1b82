#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/record_values.h"

namespace seng {

ExitCode run_stop(const Arguments& arguments, Session& session) {
  const auto reply = session.client().ask<StopReply>(StopRequest{arguments.operand(0)});
  if (!reply) return session.fail(reply.error());
  const JobRecord& job = reply->job;
  if (arguments.format() != OutputFormat::kTable) {
    print_value(session.console(), arguments.format(), job_value(job));
  } else if (is_terminal(job.state)) {
    session.console().out << fmt::format("job {} ({}) has {}\n", job.id, job.name,
                                         job.state == JobState::kStopped
                                             ? "stopped"
                                             : "ended already: " + std::string(job_state_name(job.state)));
  } else {
    session.console().out << fmt::format("job {} ({}) stops after its step in flight; {} waits for it\n",
                                         job.id, job.name,
                                         session.command_line(fmt::format("wait {}", job.id)));
  }
  return ExitCode::kOk;
}

}  // namespace seng
