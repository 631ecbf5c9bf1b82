// What `submit --resume` goes on from, and what `export` takes: a job's newest checkpoint, or a directory's.
#pragma once

#include <string>

#include <tl/expected.hpp>

#include "cli/exit_code.h"
#include "cli/session.h"
#include "protocol/base/error.h"

namespace seng {

struct ResumePoint {
  std::string checkpoint;  // an absolute directory
  std::string spec_yaml;   // of the job that wrote it
  std::string source;      // of the specification, for error messages
};

// With a slash, or `.` or `..`; else it is a job.
bool names_directory(const std::string& word);
// The directory itself if it is a checkpoint, else the newest one in it, or in its checkpoints/ directory.
// Absolute. kNotFound: there is none; kIo: what could not be read, and why.
Result<std::string> checkpoint_in(const std::string& directory, const Session& session);

// `from` is a directory, or a job, whose newest checkpoint sengd says. Whether it is
// whole and agrees with the new job is for `seng-actor plan` to say. An error is written as talk already.
tl::expected<ResumePoint, ExitCode> find_resume_point(const std::string& from, Session& session);

}  // namespace seng
