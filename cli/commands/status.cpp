#include <map>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/job_tables.h"
#include "cli/record_values.h"
#include "cli/several_jobs.h"
#include "cli/text_format.h"
#include "protocol/base/text.h"

namespace seng {
namespace {

using Json = nlohmann::ordered_json;

ExitCode status_of_jobs(const Arguments& arguments, Session& session) {
  const bool table = arguments.format() == OutputFormat::kTable;
  std::vector<JobRecord> jobs;
  const ExitCode code = for_each_job(arguments, [&](const std::string& job) {
    WatchRequest request;
    request.job = job;
    const auto reply = session.client().ask<WatchReply>(request);
    if (!reply) return session.fail(reply.error());
    const bool first = jobs.empty();
    if (!add_once(jobs, reply->job) || !table) return ExitCode::kOk;
    if (!first) session.console().out << "\n";
    print_job(reply->job, session.console());
    return ExitCode::kOk;
  });
  if (!table) print_jobs(arguments, session, jobs);
  return code;
}

struct Counts {
  std::size_t slots = 0, busy = 0;
  std::map<std::string_view, std::size_t> jobs;  // by state's name
  std::vector<JobRecord> open;                   // those that have not ended
};

Counts count(const std::vector<JobRecord>& jobs, const std::vector<NodeRecord>& nodes) {
  Counts out;
  for (const NodeRecord& node : nodes) {
    for (const SlotRecord& slot : node.slots) {
      ++out.slots;
      out.busy += slot.job != 0;
    }
  }
  for (const JobRecord& job : jobs) {
    ++out.jobs[job_state_name(job.state)];
    if (!is_terminal(job.state)) out.open.push_back(job);
  }
  return out;
}

}  // namespace

ExitCode run_status(const Arguments& arguments, Session& session) {
  if (!arguments.operands().empty()) return status_of_jobs(arguments, session);
  Client& client = session.client();
  const auto version = client.ask<VersionReply>(VersionRequest{});
  if (!version) return session.fail(version.error());
  const auto jobs = client.ask<ListReply>(ListRequest{});
  if (!jobs) return session.fail(jobs.error());
  const auto nodes = client.ask<NodesReply>(NodesRequest{});
  if (!nodes) return session.fail(nodes.error());
  const Counts counts = count(jobs->jobs, nodes->nodes);

  Console& console = session.console();
  if (arguments.format() != OutputFormat::kTable) {
    Json by_state = Json::object(), open = Json::array();
    for (const char* state : {"queued", "starting", "running", "succeeded", "failed", "stopped"}) {
      const auto found = counts.jobs.find(state);
      by_state[state] = found == counts.jobs.end() ? 0 : found->second;
    }
    for (const JobRecord& job : counts.open) open.push_back(job_value(job));
    const Json daemon = {{"version", version->version},
                         {"pid", version->pid},
                         {"node", version->node},
                         {"state_dir", version->state_dir},
                         {"started_at", version->started_at}};
    print_value(console, arguments.format(),
                {{"daemon", daemon},
                 {"slots", {{"total", counts.slots}, {"busy", counts.busy}}},
                 {"jobs", by_state},
                 {"open", open}});
    return ExitCode::kOk;
  }
  console.out << fmt::format("sengd {} on {}, pid {}, since {}\nstate directory {}\n{} of {} busy\n",
                             version->version, version->node, version->pid, format_time(version->started_at),
                             version->state_dir, counts.busy, counted(counts.slots, "slot"));
  std::string by_state;
  for (const auto& [state, number] : counts.jobs)
    by_state += fmt::format("{}{} {}", by_state.empty() ? "" : ", ", number, state);
  console.out << "jobs: " << (by_state.empty() ? "none" : by_state) << "\n";
  if (!counts.open.empty()) {
    console.out << "\n";
    job_table(counts.open).print(console);
    print_checkpoint_notes(counts.open, console);
  }
  return ExitCode::kOk;
}

}  // namespace seng
