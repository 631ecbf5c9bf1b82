#include <optional>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/follow.h"
#include "cli/job_file.h"
#include "cli/record_values.h"
#include "protocol/base/text.h"

namespace seng {
namespace {

// sengd has the job planned before it answers, which reads the data set's headers and builds the network.
constexpr int kPlanningMs = 120'000;

ExitCode refused(const Arguments& arguments, Session& session, const JobFile& file, const Failure& failure) {
  if (failure.kind == Failure::Kind::kSilent)
    return session.fail(exit_code_of(failure),
                        failure.message + "; the job may have been accepted all the same, see sengctl list");
  if (failure.kind != Failure::Kind::kRefused) return session.fail(failure);
  // Of the job are only what it says wrongly and what it names in vain; the rest is sengd's: a full disk.
  const bool of_job = failure.code == ErrorCode::kInvalidArgument || failure.code == ErrorCode::kNotFound;
  if (!of_job) return session.fail(ExitCode::kFailed, failure.message);
  for (const std::string& error : split_errors(failure.message))
    session.refuse(placed(error, file, arguments));
  return ExitCode::kUsage;
}

ExitCode see_it_through(const Arguments& arguments, Session& session, const JobRecord& job) {
  const OutputFormat format = arguments.format();
  FollowOptions options;
  options.display.progress = arguments.has("follow");
  options.display.epochs = arguments.has("follow") && format == OutputFormat::kTable;
  options.timeout_seconds = arguments.seconds("timeout");
  options.daemon_was_there = true;
  if (!arguments.has("follow"))
    options.come_back = session.command_line(fmt::format(
        "wait {}{}", job.id, format == OutputFormat::kTable ? "" : " -o " + arguments.text("format")));
  const auto followed = follow(session, std::to_string(job.id), options);
  if (!followed) return followed.error();
  print_result(session, followed->job, format);
  return exit_code_of(followed->job.state);
}

}  // namespace

ExitCode run_submit(const Arguments& arguments, Session& session) {
  if (arguments.has("timeout") && !arguments.has("wait") && !arguments.has("follow"))
    return session.fail(ExitCode::kUsage, "submit: --timeout goes with --wait or --follow");
  if (arguments.has("resume") && arguments.has("init-from"))
    return session.fail(ExitCode::kUsage, "submit: --resume and --init-from exclude each other");
  if (arguments.operands().empty() && !arguments.has("resume"))
    return session.fail(
        ExitCode::kUsage,
        "submit: FILE is missing; only with --resume is the resumed job's specification taken");
  std::optional<ResumePoint> resume;
  if (arguments.has("resume")) {
    auto found = find_resume_point(arguments.text("resume"), session);
    if (!found) return found.error();
    resume = *std::move(found);
  }
  const auto file = read_job_file(arguments, session, resume ? &*resume : nullptr);
  if (!file) return session.refuse(file.error().message);
  Client& client = session.client();
  // A silent daemon is noticed before the long wait for the plan.
  if (const auto there = client.ask<VersionReply>(VersionRequest{}); !there)
    return session.fail(there.error());
  const auto reply = client.ask<SubmitReply>(SubmitRequest{to_yaml(file->spec), file->source}, kPlanningMs);
  if (!reply) return refused(arguments, session, *file, reply.error());
  print_notes(file->spec, session.console());
  const JobRecord& job = reply->job;
  const bool stays = arguments.has("wait") || arguments.has("follow");
  if (arguments.format() == OutputFormat::kTable) {
    session.console().err << fmt::format("submitted job {} ({}){}\n", job.id, job.name,
                                         resume ? ", which goes on from " + resume->checkpoint : "");
    // For scripts; beside the words on one screen it would be a riddle.
    const bool both_seen = session.console().out_is_terminal && session.console().err_is_terminal;
    if (!stays && !both_seen) session.console().out << job.id << "\n";
  } else if (!stays) {
    print_value(session.console(), arguments.format(), job_value(job));
  }
  session.console().out.flush();
  return stays ? see_it_through(arguments, session, job) : ExitCode::kOk;
}

}  // namespace seng
