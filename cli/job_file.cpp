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
void make_root_absolute(JobSpec& spec, const Surroundings& surroundings) {
  if (spec.data_root == "auto") return;
  const std::string home = surroundings.variable("HOME");
  if (spec.data_root.starts_with("~/") && !home.empty()) spec.data_root = home + spec.data_root.substr(1);
  const std::filesystem::path root(spec.data_root);
  if (root.is_relative())
    spec.data_root = (std::filesystem::path(surroundings.working_directory) / root).lexically_normal();
}

}  // namespace

Result<JobFile> read_job_file(const Arguments& arguments, Session& session) {
  const std::string file = arguments.operand(0);
  const std::string source = file == "-" ? "<stdin>" : file;
  const auto text = file == "-" ? read_stdin(session.console().in) : read_file(file, kMaxSpecBytes);
  if (!text) return fail(ErrorCode::kInvalidArgument, text.error().message);
  std::vector<std::string> overrides = arguments.texts("set");
  if (arguments.has("name")) overrides.push_back("name=" + arguments.text("name"));
  auto spec = parse_job_spec(*text, source, overrides);
  if (!spec) return fail(spec.error());
  make_root_absolute(*spec, session.surroundings());
  return JobFile{*std::move(spec), source};
}

void print_notes(const JobSpec& spec, Console& console) {
  for (const std::string& note : notes_on(spec)) console.err << "note: " << note << "\n";
}

}  // namespace seng
