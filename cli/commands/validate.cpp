#include <algorithm>

#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/job_file.h"
#include "cli/plan_report.h"
#include "cli/plan_runner.h"
#include "cli/record_values.h"

namespace seng {
namespace {

using Json = nlohmann::ordered_json;

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    lines.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return lines;
}

ExitCode refuse(Session& session, OutputFormat format, const std::vector<std::string>& errors) {
  for (const std::string& error : errors) session.refuse(error);
  if (format != OutputFormat::kTable)
    print_value(session.console(), format, {{"ok", false}, {"errors", errors}});
  return ExitCode::kUsage;
}

}  // namespace

ExitCode run_validate(const Arguments& arguments, Session& session) {
  const OutputFormat format = arguments.format();
  Console& console = session.console();
  const auto file = read_job_file(arguments, session);
  if (!file) return refuse(session, format, lines_of(file.error().message));
  const std::string yaml = to_yaml(file->spec);
  const auto planned = run_plan(session.surroundings().binary_directory, yaml);
  if (!planned) return session.fail(ExitCode::kFailed, planned.error().message);
  const Json plan = parsed_value(*planned);
  if (!plan.is_object() || !plan.contains("ok"))
    return session.fail(ExitCode::kFailed, "seng-actor plan printed no plan: " + *planned);
  if (plan["ok"] != true) {
    std::vector<std::string> errors;
    for (const Json& error : plan.value("errors", Json::array())) {
      if (error.is_string()) errors.push_back(file->source + ": " + error.get<std::string>());
    }
    if (errors.empty()) errors.push_back(file->source + ": refused by seng-actor plan");
    return refuse(session, format, errors);
  }
  if (format != OutputFormat::kTable) {
    print_value(console, format,
                {{"ok", true}, {"spec", spec_value(yaml)}, {"notes", notes_on(file->spec)}, {"plan", plan}});
    return ExitCode::kOk;
  }
  print_notes(file->spec, console);
  console.out << yaml << "\n";
  print_plan_summary(plan, console);
  console.out << "\n";
  print_plan_blocks(plan, console);
  return ExitCode::kOk;
}

}  // namespace seng
