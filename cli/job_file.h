// A job's file as `submit` and `validate` take it.
#pragma once

#include "cli/arguments.h"
#include "cli/session.h"
#include "protocol/spec/job_spec.h"

namespace seng {

struct JobFile {
  JobSpec spec;        // a relative data.root made absolute
  std::string source;  // the file's name, "<stdin>" for -
};

// FILE with its --set, and --name where the command has one. The error's message is for the user as it is.
Result<JobFile> read_job_file(const Arguments& arguments, Session& session);

// Prints what the specification says without effect, as talk.
void print_notes(const JobSpec& spec, Console& console);

}  // namespace seng
