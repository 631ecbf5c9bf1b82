#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/interrupt.h"
#include "cli/several_jobs.h"

namespace seng {
namespace {

constexpr int kDeleteTimeoutMs = 60000;  // large files take a file system its time
// A job is over a moment before its last actors are: what comes right behind its end waits for them.
constexpr int kActorsEndMs = 15000, kBetweenAttemptsMs = 100;

Answer<DeleteReply> ask_until_over(Client& client, const DeleteRequest& request) {
  const Interrupt interrupt;
  for (int waited = 0;; waited += kBetweenAttemptsMs) {
    auto reply = client.ask<DeleteReply>(request, kDeleteTimeoutMs);
    const bool ending = !reply && reply.error().kind == Failure::Kind::kRefused &&
                        reply.error().code == ErrorCode::kUnavailable;
    if (!ending || waited >= kActorsEndMs || interrupt.wait(kBetweenAttemptsMs)) return reply;
  }
}

}  // namespace

ExitCode run_delete(const Arguments& arguments, Session& session) {
  const bool table = arguments.format() == OutputFormat::kTable;
  auto deleted = nlohmann::ordered_json::array();
  const ExitCode code = for_each_job(arguments, [&](const std::string& job) {
    const auto reply = ask_until_over(session.client(), {job, arguments.has("checkpoints")});
    if (!reply) return session.fail(reply.error());
    deleted.push_back({{"id", reply->job.id}, {"name", reply->job.name}, {"kept", reply->kept}});
    if (table)
      session.console().out << fmt::format(
          "job {} ({}) is deleted{}\n", reply->job.id, reply->job.name,
          reply->kept.empty() ? "" : "; its checkpoints stay in " + reply->kept);
    return ExitCode::kOk;
  });
  if (!table) print_value(session.console(), arguments.format(), {{"deleted", std::move(deleted)}});
  return code;
}

}  // namespace seng
