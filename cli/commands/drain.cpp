#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/record_values.h"

namespace seng {

ExitCode run_drain(const Arguments& arguments, Session& session) {
  const auto actor = arguments.number("actor");
  if (!actor || *actor >= kNoActor)
    return session.fail(ExitCode::kUsage, actor ? fmt::format("drain: there is no actor {}", *actor)
                                                : "drain: --actor K is missing; describe JOB lists them");
  const auto reply =
      session.client().ask<DrainReply>(DrainRequest{arguments.operand(0), static_cast<ActorId>(*actor)});
  if (!reply) return session.fail(reply.error());
  const JobRecord& job = reply->job;
  if (arguments.format() != OutputFormat::kTable) {
    print_value(session.console(), arguments.format(), job_value(job));
  } else if (is_terminal(job.state)) {
    session.console().out << fmt::format("job {} ({}) has ended already: {}\n", job.id, job.name,
                                         job_state_name(job.state));
  } else {
    session.console().out << fmt::format(
        "actor {} leaves job {} ({}) behind a step; another one is started in its place\n", *actor, job.id,
        job.name);
  }
  return ExitCode::kOk;
}

}  // namespace seng
