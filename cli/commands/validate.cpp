#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include "cli/command.h"
#include "cli/job_file.h"
#include "cli/plan_report.h"
#include "cli/plan_runner.h"
#include "cli/record_values.h"
#include "cli/text_format.h"
#include "protocol/base/text.h"

namespace seng {
namespace {

using Json = nlohmann::ordered_json;

ExitCode refuse(Session& session, OutputFormat format, const std::vector<std::string>& errors) {
  for (const std::string& error : errors) session.refuse(error);
  if (format != OutputFormat::kTable)
    print_value(session.console(), format, {{"ok", false}, {"errors", errors}});
  return ExitCode::kUsage;
}

// sengd refuses such a job; this machine need not be sengd's.
std::vector<std::string> notes_of(const JobSpec& spec, const Json& plan) {
  std::vector<std::string> notes = notes_on(spec);
  for (std::string& note : gpu_notes_on(spec)) notes.push_back(std::move(note));
  const long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
  const Json needed = plan.value("memory_per_actor_bytes", Json());
  if (!needed.is_number_unsigned() || pages <= 0 || page <= 0) return notes;
  const auto here = static_cast<std::uint64_t>(pages) * static_cast<std::uint64_t>(page);
  const auto each = needed.get<std::uint64_t>();
  if (each > here / spec.actors_min)
    notes.push_back(fmt::format("about {} for each of at least {} is more than this machine has, {}",
                                format_bytes(each), counted(spec.actors_min, "actor"), format_bytes(here)));
  return notes;
}

}  // namespace

ExitCode run_validate(const Arguments& arguments, Session& session) {
  const OutputFormat format = arguments.format();
  Console& console = session.console();
  const auto file = read_job_file(arguments, session);
  if (!file) return refuse(session, format, split_errors(file.error().message));
  const std::string yaml = to_yaml(file->spec);
  const auto planned = run_plan(session.surroundings().binary_directory, yaml);
  if (!planned) return session.fail(ExitCode::kFailed, planned.error().message);
  const Json plan = parsed_value(*planned);
  if (!plan.is_object() || !plan.contains("ok"))
    return session.fail(ExitCode::kFailed, "seng-actor plan printed no plan: " + *planned);
  if (plan["ok"] != true) {
    std::vector<std::string> errors;
    for (const Json& error : plan.value("errors", Json::array())) {
      if (error.is_string()) errors.push_back(placed(error.get<std::string>(), *file, arguments));
    }
    if (errors.empty()) errors.push_back(file->source + ": refused by seng-actor plan");
    return refuse(session, format, errors);
  }
  const std::vector<std::string> notes = notes_of(file->spec, plan);
  if (format != OutputFormat::kTable) {
    print_value(console, format,
                {{"ok", true}, {"spec", spec_value(yaml)}, {"notes", notes}, {"plan", plan}});
    return ExitCode::kOk;
  }
  for (const std::string& note : notes) console.err << "note: " << note << "\n";
  console.out << yaml << "\n";
  print_plan_summary(plan, console);
  console.out << "\n";
  print_plan_blocks(plan, console);
  return ExitCode::kOk;
}

}  // namespace seng
