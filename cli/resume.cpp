#include "cli/resume.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <optional>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/job_file.h"
#include "cli/record_values.h"
#include "cli/text_format.h"
#include "protocol/base/file.h"
#include "protocol/spec/job_spec.h"

namespace seng {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMostBytesToResume = std::size_t{16} << 20;

// A directory with a manifest. The error: it cannot be told, and why.
Result<bool> is_checkpoint(const fs::path& directory) {
  const fs::path manifest = directory / "manifest.json";
  std::error_code error;
  const fs::file_status status = fs::status(manifest, error);
  if (!fs::status_known(status) || status.type() == fs::file_type::none)
    return fail(ErrorCode::kIo, fmt::format("cannot read {}: {}", manifest.string(), error.message()));
  return fs::is_regular_file(status);
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

// The directory itself, the newest checkpoint in it, or in its checkpoints/. kNotFound: there is none; kIo:
// it cannot be told.
Result<fs::path> newest_checkpoint(const fs::path& directory) {
  const auto itself = is_checkpoint(directory);
  if (!itself) return fail(itself.error());
  if (*itself) return directory;
  std::error_code error;
  const fs::path below = directory / "checkpoints";
  const fs::path& place = fs::is_directory(below, error) ? below : directory;
  struct Found {
    std::uint64_t step;
    fs::path path;
    Result<bool> whole;
  };
  std::optional<Found> newest;
  error.clear();
  for (fs::directory_iterator at(place, error), end; !error && at != end; at.increment(error)) {
    const auto step = step_of(at->path().filename().string());
    if (!step || (newest && *step < newest->step)) continue;
    // One that cannot be read may be the newest: an older one would not be what was asked for.
    if (auto whole = is_checkpoint(at->path()); !whole || *whole) newest = {*step, at->path(), whole};
  }
  if (error == std::errc::no_such_file_or_directory || error == std::errc::not_a_directory)
    return fail(ErrorCode::kNotFound,
                fmt::format("there is no checkpoint in {}: {}", place.string(), error.message()));
  if (error) return fail(ErrorCode::kIo, fmt::format("cannot read {}: {}", place.string(), error.message()));
  if (!newest) return fail(ErrorCode::kNotFound, "there is no checkpoint in " + directory.string());
  if (!newest->whole) return fail(newest->whole.error());
  return newest->path;
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
  if (!checkpoint) {
    const bool none = checkpoint.error().code == ErrorCode::kNotFound;
    return tl::unexpected(session.fail(
        none ? ExitCode::kUsage : ExitCode::kFailed,
        fmt::format("--resume: {}{}", checkpoint.error().message,
                    none
                        ? "; expected a job, or a directory with a manifest.json or with step-... directories"
                        : "")));
  }
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
        session.fail(ExitCode::kFailed, fmt::format("job {} ({}) has no checkpoint: it {} at step {}", job.id,
                                                    job.name, state_words(job.state), job.step)));
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

Result<std::string> checkpoint_in(const std::string& directory, const Session& session) {
  const auto found = newest_checkpoint(absolute_path(directory, session.surroundings()));
  if (!found) return fail(found.error());
  return found->string();
}

tl::expected<ResumePoint, ExitCode> find_resume_point(const std::string& from, Session& session) {
  return names_directory(from) ? in_directory(from, session) : of_job(from, session);
}

}  // namespace seng
