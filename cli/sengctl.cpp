#include "cli/sengctl.h"

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <optional>

#include <fmt/format.h>
#include <unistd.h>

#include "cli/command.h"

extern char** environ;

namespace seng {
namespace {

struct CommandLine {
  std::string command;
  std::vector<std::string> rest;  // everything but the command
};

// Options that may stand before the command: the global ones, and the format, which users put there out of
// habit.
constexpr std::string_view kWithValue[] = {"--address", "--state-dir", "--format", "-o"};
constexpr std::string_view kAlone[] = {"--help", "-h", "--version"};

// The first word that is neither an option nor an option's value is the command. An unknown option before it
// leaves the line without a command, for its value may look like one.
CommandLine split(const std::vector<std::string>& words) {
  CommandLine line;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (line.command.empty() && !word.empty() && word[0] != '-') {
      line.command = word;
      continue;
    }
    line.rest.push_back(word);
    if (!line.command.empty()) continue;
    const std::string name = word.substr(0, word.find('='));
    const bool with_value = std::ranges::find(kWithValue, name) != std::end(kWithValue);
    if (!with_value && std::ranges::find(kAlone, name) == std::end(kAlone)) return line;
    if (with_value && name == word && i + 1 < words.size()) line.rest.push_back(words[++i]);
  }
  return line;
}

ExitCode usage_error(Session& session, const std::string& message, std::string_view command = {}) {
  session.fail(ExitCode::kUsage, message);
  session.console().err << fmt::format("`sengctl help{}{}` says how to use it\n", command.empty() ? "" : " ",
                                       command);
  return ExitCode::kUsage;
}

// A variable that is not set, on the command line, must not mean the default daemon.
std::optional<ExitCode> use_globals(const Arguments& arguments, Session& session) {
  for (const char* option : {"address", "state-dir"}) {
    if (arguments.has(option) && arguments.text(option).empty())
      return usage_error(session, fmt::format("--{}: expected {}, got nothing", option,
                                              option[0] == 'a' ? "an address" : "a directory"));
  }
  session.set_options(arguments.text("address"), arguments.text("state-dir"));
  return std::nullopt;
}

ExitCode run_without_command(const CommandLine& line, Session& session) {
  for (const std::string& word : line.rest) {
    if (word == "--help" || word == "-h") {
      session.console().out << overview_text();
      return ExitCode::kOk;
    }
  }
  OptionTable options;
  add_global_options(options);
  add_format_option(options);
  options.add_options()("version", "as the command");
  const auto arguments = Arguments::read(options, line.rest);
  if (!arguments) return usage_error(session, arguments.error().message);
  if (const auto empty = use_globals(*arguments, session)) return *empty;
  return arguments->has("version") ? run_version(*arguments, session)
                                   : usage_error(session, "no command given");
}

// "N" of "JOB N" where one operand was given.
std::string_view missing_operands(const Command& command, std::size_t given) {
  std::string_view operands = command.operands;
  for (; given > 0; --given) operands.remove_prefix(std::min(operands.find(' ') + 1, operands.size()));
  return operands;
}

ExitCode run_command(const CommandLine& line, Session& session) {
  if (line.command.empty()) return run_without_command(line, session);
  const Command* command = find_command(line.command);
  if (command == nullptr) return usage_error(session, unknown_command(line.command));
  const auto arguments = Arguments::read(options_of(*command), line.rest);
  if (!arguments)
    return usage_error(session, fmt::format("{}: {}", command->name, arguments.error().message),
                       command->name);
  if (arguments->has("help")) {
    session.console().out << help_text(*command);
    return ExitCode::kOk;
  }
  const std::size_t operands = arguments->operands().size();
  if (operands < command->least_operands)
    return usage_error(session,
                       fmt::format("{}: {} is missing", command->name, missing_operands(*command, operands)),
                       command->name);
  if (operands > command->most_operands)
    return usage_error(session,
                       fmt::format("{}: unexpected argument \"{}\"", command->name,
                                   arguments->operand(command->most_operands)),
                       command->name);
  if (const auto empty = use_globals(*arguments, session)) return *empty;
  return command->run(*arguments, session);
}

}  // namespace

ExitCode run_sengctl(const std::vector<std::string>& words, Console& console,
                     const Surroundings& surroundings) {
  Session session(console, surroundings);
  session.set_words(words);
  ExitCode code = ExitCode::kFailed;
  try {
    code = run_command(split(words), session);
  } catch (const std::exception& error) {
    code = session.fail(ExitCode::kFailed, error.what());
  }
  console.out.flush();
  console.err.flush();
  return code;
}

Surroundings current_surroundings() {
  Surroundings out;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    const std::string_view text = *variable;
    const std::size_t equals = text.find('=');
    if (equals != std::string_view::npos)
      out.environment.emplace(text.substr(0, equals), text.substr(equals + 1));
  }
  std::error_code ignored;  // a directory that was removed: only relative paths need it
  out.working_directory = std::filesystem::current_path(ignored);
  out.binary_directory = std::filesystem::read_symlink("/proc/self/exe", ignored).parent_path();
  return out;
}

}  // namespace seng
