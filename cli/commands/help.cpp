#include <fmt/format.h>

#include "cli/command.h"
#include "protocol/base/text.h"

namespace seng {

ExitCode run_help(const Arguments& arguments, Session& session) {
  const std::string name = arguments.operand(0);
  if (name.empty()) {
    session.console().out << overview_text();
    return ExitCode::kOk;
  }
  if (const Command* command = find_command(name)) {
    session.console().out << help_text(*command);
    return ExitCode::kOk;
  }
  std::vector<std::string_view> names;
  for (const Command& command : commands()) names.push_back(command.name);
  return session.fail(ExitCode::kUsage,
                      fmt::format("help: unknown command \"{}\"{}", name,
                                  did_you_mean(name, std::span<const std::string_view>(names))));
}

}  // namespace seng
