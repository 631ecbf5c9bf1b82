// Following a job to its end by long polls, through a daemon's restart too.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <tl/expected.hpp>

#include "cli/progress.h"
#include "cli/session.h"
#include "cli/value_output.h"

namespace seng {

struct FollowOptions {
  ProgressOptions display;
  std::optional<double> timeout_seconds;
  std::optional<std::uint64_t> until_step;  // ends as soon as so many steps are committed
  std::function<void(const JobRecord&)> on_change;
  // The command that goes on where Ctrl-C detached; empty: `watch` of the job.
  std::string come_back;
  // Without it a daemon that is not there at the start is an error; the job was seen already.
  bool daemon_was_there = false;
};

struct FollowedJob {
  JobRecord job;
  std::vector<EpochMetrics> epochs;
};

// Ends when the job does (or at until_step). Everything else that ends it has been said when it returns: no
// daemon at the start, no such job, the time over, Ctrl-C (with how to come back). While the daemon is away
// it says so and tries again.
tl::expected<FollowedJob, ExitCode> follow(Session& session, const std::string& job,
                                           const FollowOptions& options);

// 0, 1 or 5; 0 for a job that has not ended.
ExitCode exit_code_of(JobState state);
// The end of a job, for people on `out`, the cause of a failure on `err`; or as JSON or YAML.
void print_result(Session& session, const JobRecord& job, OutputFormat format);

}  // namespace seng
