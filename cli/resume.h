// What `submit --resume` goes on from.
#pragma once

#include <string>

#include <tl/expected.hpp>

#include "cli/exit_code.h"
#include "cli/session.h"

namespace seng {

struct ResumePoint {
  std::string checkpoint;  // an absolute directory
  std::string spec_yaml;   // of the job that wrote it
  std::string source;      // of the specification, for error messages
};

// `from` with a slash, or `.` or `..`, is a directory: a checkpoint, a checkpoints directory or a job's
// directory, whose newest checkpoint is taken; else a job, whose newest checkpoint sengd says. Whether it is
// whole and agrees with the new job is for `seng-actor plan` to say. An error is written as talk already.
tl::expected<ResumePoint, ExitCode> find_resume_point(const std::string& from, Session& session);

}  // namespace seng
