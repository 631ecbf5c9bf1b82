#include "cli/job_file.h"

#include <filesystem>

#include <fmt/format.h>
#include <sys/stat.h>

#include "protocol/base/file.h"
#include "protocol/spec/spec_places.h"
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

// --name and --tune are a --set to the reader, but not to the user.
std::string as_typed(std::string text, const Arguments& arguments) {
  const auto replace = [&](const std::string& read, const std::string& typed) {
    const std::size_t at = text.find(read);
    if (at != std::string::npos) text.replace(at, read.size(), typed);
  };
  if (arguments.has("name"))
    replace("--set name=" + arguments.text("name"), "--name " + arguments.text("name"));
  if (arguments.has("tune")) replace("--set engine.tune=true", "--tune");
  return text;
}

Result<std::string> read_text(const std::string& file, std::istream& in) {
  if (file == "-") return read_stdin(in);
  struct stat info;
  if (stat(file.c_str(), &info) == 0 && S_ISDIR(info.st_mode))
    return fail(ErrorCode::kInvalidArgument, "a directory; expected a job's file");
  auto text = read_file(file, kMaxSpecBytes);
  if (text) return text;
  // The place before it names the file already.
  Error error = text.error();
  for (const std::string& named : {" " + file, file + " "})
    if (const std::size_t at = error.message.find(named); at != std::string::npos)
      error.message.erase(at, named.size());
  return fail(std::move(error));
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
    auto read = read_text(file, session.console().in);
    if (!read) return fail(ErrorCode::kInvalidArgument, source + ": " + read.error().message);
    text = *std::move(read);
  }
  auto spec = parse_job_spec(text, source, overrides);
  if (!spec) return fail(ErrorCode::kInvalidArgument, as_typed(spec.error().message, arguments));
  return JobFile{*std::move(spec), source, std::move(text), overrides, ""};
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
  if (arguments.has("name") && arguments.text("name").empty())
    return fail(ErrorCode::kInvalidArgument, "--name: expected a name, got nothing");
  std::vector<std::string> overrides = arguments.texts("set");
  if (arguments.has("name")) overrides.push_back("name=" + arguments.text("name"));
  if (arguments.has("tune")) overrides.push_back("engine.tune=true");
  auto file = read_source(arguments, session, resume, overrides);
  if (!file) return file;
  if (resume != nullptr || arguments.has("init-from")) {
    file->spec.initial_checkpoint = resume != nullptr ? resume->checkpoint : "";
    file->spec.initial_weights = resume != nullptr ? "" : arguments.text("init-from");
    const char* option = resume != nullptr ? "resume" : "init-from";
    file->begins_with = fmt::format("--{} {}", option, arguments.text(option));
  }
  make_paths_absolute(file->spec, session.surroundings());
  return file;
}

std::string placed(const std::string& error, const JobFile& file, const Arguments& arguments) {
  if (!file.begins_with.empty() && error.starts_with("initial.")) return file.begins_with + ": " + error;
  return as_typed(with_place(error, file.text, file.source, file.overrides), arguments);
}

void print_notes(const JobSpec& spec, Console& console) {
  for (const std::string& note : notes_on(spec)) console.err << "note: " << note << "\n";
}

}  // namespace seng
