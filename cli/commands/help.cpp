#include "cli/command.h"

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
  session.fail(ExitCode::kUsage, "help: " + unknown_command(name));
  session.console().err << "`sengctl help` lists the commands\n";
  return ExitCode::kUsage;
}

}  // namespace seng
