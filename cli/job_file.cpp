#include "cli/job_file.h"

#include <filesystem>

#include <fmt/format.h>

#include "protocol/base/file.h"
#include "protocol/spec/spec_tree.h"

namespace seng {
namespace {

Result<std::string> read_stdin(std::istream& in) {
  std::string text(kMaxSpecBytes + 1, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(in.gcount()));
  if (in.bad()) return fail(ErrorCode::kIo, "cannot read standard input");
  return text;
}

// sengd has another working directory.
void make_paths_absolute(JobSpec& spec, const Surroundings& surroundings) {
  if (spec.data_root != "auto") spec.data_root = absolute_path(spec.data_root, surroundings);
  for (std::string* path : {&spec.initial_checkpoint, &spec.initial_weights})
    if (!path->empty()) *path = absolute_path(*path, surroundings);
}

// --name is a --set to the reader, but not to the user.
Error as_typed(Error error, const Arguments& arguments) {
  if (!arguments.has("name")) return error;
  const std::string read = "--set name=" + arguments.text("name");
  const std::size_t at = error.message.find(read);
  if (at != std::string::npos) error.message.replace(at, read.size(), "--name " + arguments.text("name"));
  return error;
}

Result<JobFile> read_source(const Arguments& arguments, Session& session, const ResumePoint* resume,
                            const std::vector<std::string>& overrides) {
  std::string source, text;
  if (arguments.operands().empty() && resume != nullptr) {
    source = resume->source;
    text = resume->spec_yaml;
  } else {
    const std::string file = arguments.operand(0);
    source = file == "-" ? "<stdin>" : file;
    auto read = file == "-" ? read_stdin(session.console().in) : read_file(file, kMaxSpecBytes);
    if (!read) return fail(ErrorCode::kInvalidArgument, read.error().message);
    text = *std::move(read);
  }
  auto spec = parse_job_spec(text, source, overrides);
  if (!spec) return fail(as_typed(std::move(spec).error(), arguments));
  return JobFile{*std::move(spec), source, std::move(text), overrides};
}

}  // namespace

std::string absolute_path(const std::string& path, const Surroundings& surroundings) {
  const std::string home = surroundings.variable("HOME");
  const std::filesystem::path expanded(path.starts_with("~/") && !home.empty() ? home + path.substr(1)
                                                                               : path);
  if (expanded.is_absolute()) return expanded;
  return (std::filesystem::path(surroundings.working_directory) / expanded).lexically_normal();
}

Result<JobFile> read_job_file(const Arguments& arguments, Session& session, const ResumePoint* resume) {
  std::vector<std::string> overrides = arguments.texts("set");
  if (arguments.has("name")) overrides.push_back("name=" + arguments.text("name"));
  if (arguments.has("tune")) overrides.push_back("engine.tune=true");
  auto file = read_source(arguments, session, resume, overrides);
  if (!file) return file;
  if (resume != nullptr || arguments.has("init-from")) {
    file->spec.initial_checkpoint = resume != nullptr ? resume->checkpoint : "";
    file->spec.initial_weights = resume != nullptr ? "" : arguments.text("init-from");
  }
  make_paths_absolute(file->spec, session.surroundings());
  return file;
}

void print_notes(const JobSpec& spec, Console& console) {
  for (const std::string& note : notes_on(spec)) console.err << "note: " << note << "\n";
}

}  // namespace seng
