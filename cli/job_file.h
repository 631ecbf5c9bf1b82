// A job's file as `submit` and `validate` take it.
#pragma once

#include <string>
#include <vector>

#include "cli/arguments.h"
#include "cli/resume.h"
#include "cli/session.h"
#include "protocol/spec/job_spec.h"

namespace seng {

struct JobFile {
  JobSpec spec;        // paths (data.root, initial) made absolute
  std::string source;  // the file's name, "<stdin>" for -
  // What the specification was read from.
  std::string text;
  std::vector<std::string> overrides;
  std::string begins_with;  // "--resume 7", "--init-from FILE", if one of them says with what the job begins
};

// FILE with its --set, and --name where the command has one; without FILE the specification of `resume`. With
// `resume` the job begins with its checkpoint, with --init-from with those weights, whatever the file says.
// The error's message is for the user as it is: each error in it begins with its place.
Result<JobFile> read_job_file(const Arguments& arguments, Session& session,
                              const ResumePoint* resume = nullptr);

// An error that was found in the specification later, with the place of what was typed before it.
std::string placed(const std::string& error, const JobFile& file, const Arguments& arguments);

// Of where sengctl runs; a leading ~/ is the home directory.
std::string absolute_path(const std::string& path, const Surroundings& surroundings);

// Prints what the specification says without effect, as talk.
void print_notes(const JobSpec& spec, Console& console);

}  // namespace seng
