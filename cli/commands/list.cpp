#include <algorithm>
#include <optional>
#include <set>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/job_tables.h"
#include "cli/record_values.h"
#include "protocol/base/text.h"

namespace seng {
namespace {

constexpr JobState kStates[] = {JobState::kQueued,    JobState::kStarting, JobState::kRunning,
                                JobState::kSucceeded, JobState::kFailed,   JobState::kStopped};

// Of "queued,running" or "open"; nothing, with what is wrong in `problem`, for another word.
std::optional<std::set<JobState>> states_of(const std::string& words, std::string& problem) {
  std::vector<std::string> known{"open"};
  for (const JobState state : kStates) known.emplace_back(job_state_name(state));
  std::set<JobState> out;
  for (std::size_t from = 0; from <= words.size();) {
    const std::size_t end = std::min(words.find(',', from), words.size());
    const std::string word = words.substr(from, end - from);
    if (std::ranges::find(known, word) == known.end()) {
      problem = fmt::format(
          "--state: no state is \"{}\"{}; expected some of open, queued, starting, running, "
          "succeeded, failed and stopped, with commas between them",
          word, did_you_mean(word, std::span<const std::string>(known)));
      return std::nullopt;
    }
    for (const JobState state : kStates) {
      if (word == job_state_name(state) || (word == "open" && !is_terminal(state))) out.insert(state);
    }
    from = end + 1;
  }
  return out;
}

}  // namespace

ExitCode run_list(const Arguments& arguments, Session& session) {
  std::string problem;
  const auto states = states_of(arguments.text("state", "open,succeeded,failed,stopped"), problem);
  if (!states) return session.fail(ExitCode::kUsage, problem);
  auto reply = session.client().ask<ListReply>(ListRequest{});
  if (!reply) return session.fail(reply.error());
  std::vector<JobRecord>& jobs = reply->jobs;
  const bool any = !jobs.empty();
  std::erase_if(jobs, [&](const JobRecord& job) { return !states->contains(job.state); });
  const std::uint64_t limit = arguments.number("limit").value_or(jobs.size());
  if (jobs.size() > limit) jobs.erase(jobs.begin(), jobs.end() - static_cast<std::ptrdiff_t>(limit));
  if (arguments.format() == OutputFormat::kTable) {
    if (jobs.empty() && arguments.number("limit") == std::uint64_t{0}) return ExitCode::kOk;  // as asked
    if (jobs.empty()) {
      session.console().err << (any ? "no such jobs; sengctl list shows all\n"
                                    : "no jobs; sengctl submit FILE makes one\n");
    } else {
      job_table(jobs).print(session.console());
      print_checkpoint_notes(jobs, session.console());
    }
    return ExitCode::kOk;
  }
  auto values = nlohmann::ordered_json::array();
  for (const JobRecord& job : jobs) values.push_back(job_value(job));
  print_value(session.console(), arguments.format(), {{"jobs", std::move(values)}});
  return ExitCode::kOk;
}

}  // namespace seng
