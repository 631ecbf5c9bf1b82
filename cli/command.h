// The one table of commands: dispatch, help, completion and "did you mean" all go by it.
#pragma once

#include <span>
#include <string_view>

#include "cli/arguments.h"
#include "cli/exit_code.h"
#include "cli/session.h"

namespace seng {

struct Command {
  std::string_view name;
  std::string_view operands;  // as usage shows them: "JOB", "[JOB]"
  std::string_view summary;   // one line
  std::string_view details;   // more of it for `help NAME`; may be empty
  std::size_t least_operands = 0, most_operands = 0;
  void (*add_options)(OptionTable&) = nullptr;  // the command's own; null: none
  ExitCode (*run)(const Arguments&, Session&) = nullptr;
};

// In the order of `sengctl help`.
std::span<const Command> commands();
const Command* find_command(std::string_view name);
// 'unknown command "stat"; did you mean "status"?'
std::string unknown_command(const std::string& word);
// The command's own and the global options.
OptionTable options_of(const Command& command);
// "usage: sengctl NAME ..." and all that is to be said.
std::string help_text(const Command& command);
std::string overview_text();

// Each in its own file under commands/.
ExitCode run_submit(const Arguments&, Session&);
ExitCode run_validate(const Arguments&, Session&);
ExitCode run_list(const Arguments&, Session&);
ExitCode run_status(const Arguments&, Session&);
ExitCode run_describe(const Arguments&, Session&);
ExitCode run_logs(const Arguments&, Session&);
ExitCode run_watch(const Arguments&, Session&);
ExitCode run_stop(const Arguments&, Session&);
ExitCode run_scale(const Arguments&, Session&);
ExitCode run_drain(const Arguments&, Session&);
ExitCode run_delete(const Arguments&, Session&);
ExitCode run_wait(const Arguments&, Session&);
ExitCode run_events(const Arguments&, Session&);
ExitCode run_metrics(const Arguments&, Session&);
ExitCode run_nodes(const Arguments&, Session&);
ExitCode run_export(const Arguments&, Session&);
ExitCode run_version(const Arguments&, Session&);
ExitCode run_completion(const Arguments&, Session&);
ExitCode run_help(const Arguments&, Session&);

}  // namespace seng
