#include <boost/program_options/value_semantic.hpp>
#include <fmt/format.h>

#include "cli/command.h"
#include "cli/text_format.h"
#include "protocol/base/text.h"

namespace seng {
namespace {

namespace po = boost::program_options;

// Appends an option: `names` is "long" or "long,s"; a null `metavar` is a switch.
void option(OptionTable& table, const char* names, const char* metavar, const char* help) {
  if (metavar == nullptr) {
    table.add_options()(names, help);
  } else {
    table.add_options()(names, po::value<std::string>()->value_name(metavar), help);
  }
}

void number(OptionTable& table, const char* names, const char* metavar, const char* help) {
  table.add_options()(names, po::value<std::uint64_t>()->value_name(metavar), help);
}

void seconds(OptionTable& table, const char* names, const char* help) {
  table.add_options()(names, po::value<double>()->value_name("SECONDS"), help);
}

void changes(OptionTable& table) {
  table.add_options()("set", po::value<std::vector<std::string>>()->value_name("KEY.PATH=VALUE"),
                      "change the job, may be repeated: --set optimizer.lr=0.05");
}

void for_submit(OptionTable& t) {
  changes(t);
  option(t, "name", "NAME", "the job's name, instead of the file's");
  option(t, "resume", "JOB|DIR", "go on from the newest checkpoint of a job or directory, or from that one");
  option(t, "init-from", "FILE", "begin with these weights (safetensors, PyTorch's names)");
  option(t, "tune", nullptr, "on GPUs: measure the convolutions' algorithms first (engine.tune)");
  option(t, "wait", nullptr, "wait for its end, then print the result");
  option(t, "follow", nullptr, "show its progress until it ends, then print the result");
  seconds(t, "timeout", "with --wait or --follow: stop waiting after so long (exit code 124)");
  add_format_option(t);
}
void for_validate(OptionTable& t) {
  changes(t);
  add_format_option(t);
}
void for_list(OptionTable& t) {
  option(t, "state", "STATE,...", "only jobs in one of these states; open: those that have not ended");
  number(t, "limit", "N", "only the newest N; 0: none");
  add_format_option(t);
}
void for_delete(OptionTable& t) {
  option(t, "checkpoints", nullptr, "its checkpoints too");
  add_format_option(t);
}
void for_logs(OptionTable& t) {
  number(t, "actor", "K", "only this actor's");
  number(t, "tail", "N", "only the last N lines of each, and what follows");
  option(t, "follow,f", nullptr, "go on as the logs grow");
}
void for_drain(OptionTable& t) {
  number(t, "actor", "K", "which actor");
  add_format_option(t);
}
void for_stop(OptionTable& t) {
  option(t, "wait", nullptr, "wait until they have ended");
  seconds(t, "timeout", "with --wait: stop waiting after so long (exit code 124)");
  add_format_option(t);
}
void for_wait(OptionTable& t) {
  seconds(t, "timeout", "stop waiting after so long (exit code 124)");
  number(t, "step", "N", "only until it has committed N steps");
  add_format_option(t);
}
void for_events(OptionTable& t) {
  option(t, "follow,f", nullptr, "go on as events happen, until the job ends");
  add_format_option(t);
}
void for_metrics(OptionTable& t) {
  option(t, "series", "SERIES", "step, epoch or all (default: epoch for a table, else all)");
  add_format_option(t);
}
void for_export(OptionTable& t) {
  option(t, "output", "FILE", "the file to write (safetensors)");
  option(t, "to", "FILE", "");  // what it was once called; not shown
  option(t, "force", nullptr, "replace the file if it exists");
  add_format_option(t);
}

constexpr std::size_t kMany = 1000;
constexpr std::string_view kSeveral =
    "What is wrong with one job keeps nothing from the others; the exit code is of the first such.";
constexpr std::string_view kFollowing =
    "Ctrl-C only ends the watching: the job goes on, and `sengctl watch JOB` shows it again.";

constexpr Command kCommands[] = {
    {"submit", "[FILE]", "hand a job to sengd",
     "FILE is the job's YAML, - for standard input; with --resume it may be left out: then the job is the "
     "one "
     "that is resumed. Prints the job. With --wait or --follow the exit code is the job's: 0 succeeded, "
     "1 failed, 5 stopped.",
     0, 1, for_submit, run_submit},
    {"validate", "FILE", "check a job file without starting anything",
     "Prints the effective specification, the parameter count, the memory per actor and the blocks. Needs no "
     "sengd.",
     1, 1, for_validate, run_validate},
    {"list", "", "all jobs, or some", "", 0, 0, for_list, run_list},
    {"status", "[JOB...]", "jobs' states in short, or the whole daemon's", "", 0, kMany, add_format_option,
     run_status},
    {"describe", "JOB", "everything about a job: why it waits, actors, plan, events", "", 1, 1,
     add_format_option, run_describe},
    {"logs", "JOB", "what the job's actors logged", kFollowing, 1, 1, for_logs, run_logs},
    {"watch", "JOB", "show a job's progress until it ends", kFollowing, 1, 1, add_format_option, run_watch},
    {"stop", "JOB...", "end jobs after their steps in flight, with checkpoints", kSeveral, 1, kMany, for_stop,
     run_stop},
    {"delete", "JOB...", "forget jobs that have ended: records, metrics, logs",
     "Their checkpoints stay, unless --checkpoints is given; `sengctl submit --resume DIR` takes them.", 1,
     kMany, for_delete, run_delete},
    {"scale", "JOB N", "give a job at most N actors, while it runs or before",
     "It grows as slots get free and shrinks behind a step; the bits of its result stay the same.", 2, 2,
     add_format_option, run_scale},
    {"drain", "JOB", "take an actor out of its group behind a step",
     "Nothing is lost; another actor is started in its place.", 1, 1, for_drain, run_drain},
    {"wait", "JOB...", "wait for jobs' ends",
     "The exit code is the job's: 0 succeeded, 1 failed, 5 stopped; 7 when it succeeded without reaching the "
     "step, 124 when the time is over first. Of several jobs, that of the first that is not 0.",
     1, kMany, for_wait, run_wait},
    {"events", "JOB", "what happened to a job", kFollowing, 1, 1, for_events, run_events},
    {"metrics", "JOB", "a job's numbers per step and per epoch", "", 1, 1, for_metrics, run_metrics},
    {"nodes", "", "machines and their slots", "", 0, 0, add_format_option, run_nodes},
    {"export", "JOB|DIR",
     "copy the trained network out of a job's newest checkpoint, or out of a directory's",
     "A word with a slash is a directory: a checkpoint, a checkpoints/ or a job's directory; sengd need not "
     "know it, nor run. The file's SHA-256 is checked against the checkpoint's manifest.",
     1, 1, for_export, run_export},
    {"version", "", "sengctl's version and sengd's", "", 0, 0, add_format_option, run_version},
    {"completion", "SHELL", "print a completion script",
     "SHELL is bash. Put into ~/.bashrc:  source <(sengctl completion bash)", 1, 1, nullptr, run_completion},
    {"help", "[COMMAND]", "say how to use sengctl or one command", "", 0, 1, nullptr, run_help},
};

// One line an option: what is typed, and what it does.
std::string option_lines(const OptionTable& options) {
  std::string out;
  for (const auto& option : options.options()) {
    if (option->description().empty()) continue;
    std::string typed;
    for (const OptionName& name : option_names(options)) {
      if (name.long_name == "--" + option->long_name())
        typed = (name.short_name.empty() ? "    " : name.short_name + ", ") + name.long_name;
    }
    const std::string parameter = option->format_parameter();
    if (!parameter.empty()) typed += " " + parameter;
    out += fmt::format("  {:<28}{}{}\n", typed, typed.size() >= 28 ? "  " : "", option->description());
  }
  return out;
}

// What other tools call it.
std::string_view other_word_for(std::string_view word) {
  static constexpr std::pair<std::string_view, std::string_view> kOthers[] = {
      {"cancel", "stop"},  {"kill", "stop"},     {"rm", "delete"},    {"remove", "delete"}, {"get", "list"},
      {"ls", "list"},      {"ps", "list"},       {"top", "watch"},    {"show", "describe"}, {"run", "submit"},
      {"start", "submit"}, {"info", "describe"}, {"follow", "watch"}, {"resize", "scale"}};
  for (const auto& [other, own] : kOthers)
    if (word == other) return own;
  return "";
}

}  // namespace

std::string unknown_command(const std::string& word) {
  if (const std::string_view own = other_word_for(word); !own.empty())
    return fmt::format("unknown command \"{}\"; did you mean \"{}\"?", word, own);
  std::vector<std::string_view> names;
  for (const Command& known : commands()) names.push_back(known.name);
  return fmt::format("unknown command \"{}\"{}", word,
                     did_you_mean(word, std::span<const std::string_view>(names)));
}

std::span<const Command> commands() {
  return kCommands;
}

const Command* find_command(std::string_view name) {
  for (const Command& command : kCommands) {
    if (command.name == name) return &command;
  }
  return nullptr;
}

OptionTable options_of(const Command& command) {
  OptionTable options;
  if (command.add_options != nullptr) command.add_options(options);
  add_global_options(options);
  return options;
}

std::string help_text(const Command& command) {
  std::string out = fmt::format("usage: sengctl {}{}{} [options]\n\n{}.\n", command.name,
                                command.operands.empty() ? "" : " ", command.operands, command.summary);
  if (!command.details.empty()) out += fmt::format("{}\n", command.details);
  out += "\noptions:\n" + option_lines(options_of(command));
  if (command.operands.find("JOB") != std::string_view::npos)
    out += "\nJOB is a job's number or its name (the newest of that name).\n";
  return out;
}

std::string overview_text() {
  std::string out =
      "usage: sengctl COMMAND [arguments]\n\nSubmits jobs to sengd and shows them.\n\ncommands:\n";
  for (const Command& command : kCommands) out += fmt::format("  {:<12}{}\n", command.name, command.summary);
  OptionTable globals;
  add_global_options(globals);
  out += "\noptions of every command:\n" + option_lines(globals);
  out += "\n`sengctl help COMMAND` says more. Commands that read take -o table|json|yaml.\n";
  out +=
      "exit codes: 0 ok, 1 job failed, 2 usage or refused job, 3 no daemon, 4 no such job, 5 job stopped,\n";
  out += "            6 other errors, 7 step not reached, 124 timeout, 130 Ctrl-C\n";
  return out;
}

}  // namespace seng
