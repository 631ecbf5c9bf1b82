#include <charconv>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/record_values.h"
#include "cli/text_format.h"
#include "protocol/base/text.h"

namespace seng {
namespace {

constexpr std::uint32_t kMostActors = 1024;  // as actors.max

bool read_number(const std::string& text, std::uint32_t& value) {
  const char* end = text.data() + text.size();
  const auto read = std::from_chars(text.data(), end, value);
  return read.ec == std::errc() && read.ptr == end && value >= 1 && value <= kMostActors;
}

std::string actors(std::uint32_t n) {
  return counted(n, "actor");
}

// What the daemon will do, by the job's record after the change.
std::string outcome(const JobRecord& job) {
  const std::uint32_t wanted = job.actors_max;
  if (is_terminal(job.state)) return fmt::format("has ended already: {}", job_state_name(job.state));
  if (job.actors == 0) return fmt::format("starts with at most {}", actors(wanted));
  if (job.actors < wanted)
    return fmt::format("grows from {} to {} as slots get free", job.actors, actors(wanted));
  if (job.actors > wanted)
    return fmt::format("shrinks from {} to {} behind a step; those that stay go on in their processes",
                       job.actors, actors(wanted));
  return "keeps its " + actors(wanted);
}

}  // namespace

ExitCode run_scale(const Arguments& arguments, Session& session) {
  ScaleRequest request{arguments.operand(0), 0};
  if (!read_number(arguments.operand(1), request.actors))
    return session.fail(ExitCode::kUsage,
                        fmt::format("scale: \"{}\"; expected a number of actors from 1 to {}",
                                    arguments.operand(1), kMostActors));
  const auto reply = session.client().ask<ScaleReply>(request);
  if (!reply) return session.fail(reply.error());
  const JobRecord& job = reply->job;
  if (arguments.format() != OutputFormat::kTable) {
    print_value(session.console(), arguments.format(), job_value(job));
  } else {
    session.console().out << fmt::format("job {} ({}) {}\n", job.id, job.name, outcome(job));
    if (!is_terminal(job.state) && job.actors_max != request.actors)
      session.console().err << fmt::format("note: the job has work for {} at most\n", actors(job.actors_max));
    if (!is_terminal(job.state) && !job.reason.empty())
      session.console().err << fmt::format("note: {}\n", one_line(job.reason));
  }
  return ExitCode::kOk;
}

}  // namespace seng
