#include <fmt/format.h>

#include "cli/command.h"
#include "protocol/base/text.h"

namespace seng {
namespace {

constexpr std::string_view kHead =
    R"bash(# bash completion for sengctl; put into ~/.bashrc:  source <(sengctl completion bash)
_sengctl_jobs() {
  sengctl completion jobs 2>/dev/null
}
_sengctl() {
  local word=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} command= i options= operands= values=
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; ++i)); do
    case ${COMP_WORDS[i]} in
      --address|--state-dir) ((++i)) ;;
      -*) ;;
      *) command=${COMP_WORDS[i]}; break ;;
    esac
  done
)bash";

constexpr std::string_view kTail = R"bash(  case $previous in
    --state-dir) COMPREPLY=($(compgen -d -- "$word")); return ;;
    --output) compopt -o default 2>/dev/null; return ;;
    -o|--format) [[ $command != export ]] && { COMPREPLY=($(compgen -W "table json yaml" -- "$word")); return; } ;;
    --resume) COMPREPLY=($(compgen -W "$(_sengctl_jobs)" -- "$word") $(compgen -d -- "$word")); return ;;
    --init-from) COMPREPLY=($(compgen -f -- "$word")); return ;;
    --state) COMPREPLY=($(compgen -W "open queued starting running succeeded failed stopped" -- "$word")); return ;;
    --series) COMPREPLY=($(compgen -W "step epoch all" -- "$word")); return ;;
  esac
  case " $values " in
    *" $previous "*) return ;;
  esac
  if [[ $word == -* ]]; then
    COMPREPLY=($(compgen -W "$options" -- "$word"))
    return
  fi
  case $operands in
    FILE) compopt -o default 2>/dev/null; COMPREPLY=($(compgen -f -- "$word")) ;;
    JOB) COMPREPLY=($(compgen -W "$(_sengctl_jobs)" -- "$word")) ;;
    *) COMPREPLY=($(compgen -W "$operands" -- "$word")) ;;
  esac
}
complete -F _sengctl sengctl
)bash";

std::string operands_of(const Command& command, const std::string& all_commands) {
  if (command.operands.find("JOB") != std::string_view::npos) return "JOB";
  if (command.operands == "FILE" || command.operands == "[FILE]") return "FILE";
  if (command.operands == "SHELL") return "bash";
  return command.operands == "[COMMAND]" ? all_commands : "";
}

std::string bash_script() {
  std::string names;
  for (const Command& command : commands())
    names += fmt::format("{}{}", names.empty() ? "" : " ", command.name);
  std::string out(kHead);
  out += "  case $command in\n";
  const auto add_case = [&](std::string_view pattern, const OptionTable& table, const std::string& operands) {
    std::string all, with_value;
    for (const OptionName& option : option_names(table)) {
      for (const std::string& name : {option.long_name, option.short_name}) {
        if (name.empty()) continue;
        all += (all.empty() ? "" : " ") + name;
        if (option.takes_value) with_value += (with_value.empty() ? "" : " ") + name;
      }
    }
    out += fmt::format("    {}) options=\"{}\" values=\"{}\" operands=\"{}\" ;;\n", pattern, all, with_value,
                       operands);
  };
  OptionTable globals;
  add_global_options(globals);
  add_case("\"\"", globals, names);
  for (const Command& command : commands())
    add_case(command.name, options_of(command), operands_of(command, names));
  out += "  esac\n";
  return out + std::string(kTail);
}

// The words that a JOB may be, for the script above.
ExitCode print_jobs(Session& session) {
  const auto reply = session.client().ask<ListReply>(ListRequest{}, 1000);
  if (!reply) return session.fail(reply.error());
  for (const JobRecord& job : reply->jobs) session.console().out << job.id << "\n" << job.name << "\n";
  return ExitCode::kOk;
}

}  // namespace

ExitCode run_completion(const Arguments& arguments, Session& session) {
  const std::string shell = arguments.operand(0);
  if (shell == "jobs") return print_jobs(session);
  if (shell != "bash")
    return session.fail(ExitCode::kUsage, fmt::format("completion: no script for \"{}\"{}; expected bash",
                                                      shell, did_you_mean(shell, {"bash"})));
  session.console().out << bash_script();
  return ExitCode::kOk;
}

}  // namespace seng
