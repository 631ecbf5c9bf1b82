#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/job_tables.h"
#include "cli/record_values.h"

namespace seng {

ExitCode run_list(const Arguments& arguments, Session& session) {
  const auto reply = session.client().ask<ListReply>(ListRequest{});
  if (!reply) return session.fail(reply.error());
  if (arguments.format() == OutputFormat::kTable) {
    if (reply->jobs.empty()) {
      session.console().err << "no jobs; sengctl submit FILE makes one\n";
    } else {
      job_table(reply->jobs).print(session.console());
    }
    return ExitCode::kOk;
  }
  auto jobs = nlohmann::ordered_json::array();
  for (const JobRecord& job : reply->jobs) jobs.push_back(job_value(job));
  print_value(session.console(), arguments.format(), {{"jobs", std::move(jobs)}});
  return ExitCode::kOk;
}

}  // namespace seng
