#include "cli/resume.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <optional>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/job_file.h"
#include "cli/record_values.h"
#include "protocol/base/file.h"
#include "protocol/spec/job_spec.h"

namespace seng {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMostBytesToResume = std::size_t{16} << 20;

bool is_checkpoint(const fs::path& directory) {
  std::error_code absent;
  return fs::is_regular_file(directory / "manifest.json", absent);
}

// 200 of "step-00000200".
std::optional<std::uint64_t> step_of(const std::string& name) {
  constexpr std::string_view kPrefix = "step-";
  std::uint64_t step = 0;
  if (!name.starts_with(kPrefix)) return std::nullopt;
  const char* end = name.data() + name.size();
  const auto read = std::from_chars(name.data() + kPrefix.size(), end, step);
  return read.ec == std::errc() && read.ptr == end ? std::optional(step) : std::nullopt;
}

// The directory itself, the newest checkpoint in it, or in its checkpoints/.
std::optional<fs::path> newest_checkpoint(const fs::path& directory) {
  if (is_checkpoint(directory)) return directory;
  std::error_code error;
  const fs::path below = directory / "checkpoints";
  const fs::path& place = fs::is_directory(below, error) ? below : directory;
  std::optional<std::pair<std::uint64_t, fs::path>> newest;
  for (fs::directory_iterator at(place, error), end; !error && at != end; at.increment(error)) {
    const auto step = step_of(at->path().filename().string());
    if (step && is_checkpoint(at->path()) && (!newest || *step > newest->first)) newest = {*step, at->path()};
  }
  return newest ? std::optional(newest->second) : std::nullopt;
}

Result<std::string> spec_of(const std::string& manifest) {
  const auto text = read_file(manifest, kMostBytesToResume);
  if (!text) return fail(text.error());
  const auto json = parsed_value(*text);
  const auto spec = json.is_object() ? json.find("spec") : json.end();
  if (!json.is_object() || spec == json.end() || !spec->is_string())
    return fail(ErrorCode::kCorrupt, manifest + ": no text \"spec\"; the checkpoint is damaged");
  return spec->get<std::string>();
}

tl::expected<ResumePoint, ExitCode> in_directory(const std::string& from, Session& session) {
  const std::string directory = absolute_path(from, session.surroundings());
  const auto checkpoint = newest_checkpoint(directory);
  if (!checkpoint)
    return tl::unexpected(session.fail(
        ExitCode::kUsage,
        fmt::format(
            "--resume: there is no checkpoint in {}; expected a job, or a directory with a manifest.json "
            "or with step-... directories",
            directory)));
  const std::string manifest = *checkpoint / "manifest.json";
  auto spec = spec_of(manifest);
  if (!spec) return tl::unexpected(session.fail(ExitCode::kUsage, "--resume: " + spec.error().message));
  return ResumePoint{*checkpoint, *std::move(spec), manifest};
}

tl::expected<ResumePoint, ExitCode> of_job(const std::string& from, Session& session) {
  const auto reply = session.client().ask<DescribeReply>(DescribeRequest{from});
  if (!reply) {
    std::error_code error;
    const fs::path here = fs::path(session.surroundings().working_directory) / from;
    const bool known = reply.error().code != ErrorCode::kNotFound || reply.error().gone();
    const std::string hint =
        !known && fs::is_directory(here, error) ? fmt::format("; the directory is written ./{}", from) : "";
    return tl::unexpected(session.fail(exit_code_of(reply.error()), reply.error().message + hint));
  }
  const JobRecord& job = reply->job;
  if (job.checkpoint.empty()) {
    // One that was stopped before its first step goes on where it began.
    const auto spec = parse_job_spec(reply->spec_yaml, "job");
    if (spec && !spec->initial_checkpoint.empty())
      return ResumePoint{spec->initial_checkpoint, reply->spec_yaml, fmt::format("job {}", job.id)};
    return tl::unexpected(
        session.fail(ExitCode::kFailed, fmt::format("job {} ({}) has no checkpoint: it is {} at step {}",
                                                    job.id, job.name, job_state_name(job.state), job.step)));
  }
  if (!is_terminal(job.state))
    session.console().err << fmt::format(
        "note: job {} ({}) goes on; it removes the checkpoint when it has newer ones (checkpoint.keep)\n",
        job.id, job.name);
  return ResumePoint{job.checkpoint, reply->spec_yaml, fmt::format("job {}", job.id)};
}

}  // namespace

bool names_directory(const std::string& word) {
  return word.find('/') != std::string::npos || word == "." || word == "..";
}

std::optional<std::string> checkpoint_in(const std::string& directory, const Session& session) {
  const auto found = newest_checkpoint(absolute_path(directory, session.surroundings()));
  return found ? std::optional(found->string()) : std::nullopt;
}

tl::expected<ResumePoint, ExitCode> find_resume_point(const std::string& from, Session& session) {
  return names_directory(from) ? in_directory(from, session) : of_job(from, session);
}

}  // namespace seng
