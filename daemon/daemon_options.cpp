#include "daemon/daemon_options.h"

#include <charconv>
#include <optional>
#include <sstream>

#include <boost/program_options.hpp>
#include <fmt/format.h>

#include "protocol/base/text.h"

namespace seng {
namespace {

namespace po = boost::program_options;

constexpr const char* kOperands = "operands";  // of which there are none

struct Raw {
  DaemonOptions options;
  std::string level = "info";
  std::vector<std::string> operands;
};

po::options_description visible(Raw& raw) {
  po::options_description out("Options");
  auto add = out.add_options();
  add("state-dir", po::value(&raw.options.state_dir)->value_name("DIR"),
      "where jobs, checkpoints, logs and sockets lie; default $SENG_STATE_DIR, $XDG_STATE_HOME/seng, "
      "~/.local/state/seng");
  add("slots", po::value<std::string>()->value_name("N"),
      "actors at a time; default: one a GPU, or cores / threads per slot");
  add("threads-per-slot", po::value<std::string>()->value_name("N"), "threads of each actor; default 1");
  add("lease", po::value<std::string>()->value_name("SECONDS"),
      "silence after which an actor is suspect, default 1; all other time limits derive from it");
  add("device", po::value(&raw.options.device)->value_name("DEVICE"),
      "what actors compute on: cpu (default), cuda, or auto: GPUs where there are any that can be used. GPUs "
      "are only used when asked for: the CUDA backend has not been tried on a real one yet");
  add("actors-per-gpu", po::value<std::string>()->value_name("N"),
      "slots that share a GPU at most; default: 1, or as many as --slots asks for");
  add("foreground", "stay in the foreground and log to stderr as well");
  add("keep-actors",
      "when stopped, leave actors training; the next sengd takes them over. Default: jobs checkpoint and "
      "wait for the next sengd");
  add("log-level", po::value(&raw.level)->value_name("LEVEL"), "debug, info, warning or error; default info");
  add("print-config", "print what these options amount to, and end");
  add("help,h", "print this, and end");
  add("version", "print the version, and end");
  return out;
}

po::options_description all(Raw& raw) {
  po::options_description out = visible(raw);
  out.add_options()("actor-binary", po::value(&raw.options.actor_binary))(
      "nvml-library", po::value(&raw.options.nvml_library))(kOperands, po::value(&raw.operands));
  return out;
}

// Leaves `out` as it is where the option was not given.
template <class T>
Status read_number(std::string_view option, const std::optional<std::string>& text, T least, T most,
                   const char* unit, T& out) {
  if (!text) return {};
  T value{};
  const char* end = text->data() + text->size();
  const auto read = std::from_chars(text->data(), end, value);
  if (read.ec == std::errc() && read.ptr == end && value >= least && value <= most) {  // NaN is in no range
    out = value;
    return {};
  }
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("--{}: expected {} to {}{}, found \"{}\"", option, least, most, unit, *text));
}

Status check(const Raw& raw) {
  const auto wrong = [](const std::string& text) { return fail(ErrorCode::kInvalidArgument, text); };
  if (!raw.operands.empty())
    return wrong(fmt::format("only options are expected, found \"{}\"", raw.operands.front()));
  const std::string& device = raw.options.device;
  if (device != "cpu" && device != "cuda" && device != "auto")
    return wrong(
        "--device: " + device + " is none of cpu, cuda, auto" +
        (device == "gpu" ? "; did you mean \"cuda\"?" : did_you_mean(device, {"cpu", "cuda", "auto"})));
  if (!log_level_of(raw.level)) {
    return wrong("--log-level: " + raw.level + " is none of debug, info, warning, error" +
                 did_you_mean(raw.level, {"debug", "info", "warning", "error"}));
  }
  return {};
}

std::string unknown_option(const std::string& name) {
  return "unknown option " + name +
         did_you_mean(
             name, {"--state-dir", "--slots", "--threads-per-slot", "--lease", "--device", "--actors-per-gpu",
                    "--foreground", "--keep-actors", "--log-level", "--print-config", "--help", "--version"});
}

}  // namespace

std::string daemon_usage() {
  Raw raw;
  std::ostringstream out;
  out << "Usage: sengd [options]\n\n"
         "Runs training jobs on this machine. Without --foreground it returns once it serves.\n"
         "Submit with sengctl; stop with SIGTERM; SIGHUP opens the log anew.\n\n"
      << visible(raw)
      << "\nFor tests and development: --actor-binary PATH runs another program in place of seng-actor,\n"
         "--nvml-library PATH asks another library than libnvidia-ml.so.1 for GPUs.\n";
  return out.str();
}

Result<DaemonOptions> parse_daemon_options(int argc, const char* const* argv) {
  Raw raw;
  po::variables_map values;
  try {
    // No abbreviations: an option added later must not change what a script's means.
    const int style = po::command_line_style::default_style & ~po::command_line_style::allow_guessing;
    const auto description = all(raw);
    po::positional_options_description operands;
    operands.add(kOperands, -1);
    po::store(
        po::command_line_parser(argc, argv).options(description).positional(operands).style(style).run(),
        values);
    po::notify(values);
    if (values.count("state-dir") > 0 && raw.options.state_dir.empty())
      return fail(ErrorCode::kInvalidArgument, "--state-dir: expected a directory, got nothing");
  } catch (const po::unknown_option& error) {
    return fail(ErrorCode::kInvalidArgument, unknown_option(error.get_option_name()));
  } catch (const po::error& error) {
    return fail(ErrorCode::kInvalidArgument, error.what());
  }
  SENG_TRY(check(raw));
  DaemonOptions out = raw.options;
  const auto typed = [&](const char* option) {
    return values.count(option) == 0 ? std::nullopt : std::optional(values[option].as<std::string>());
  };
  const auto read = [&](const char* option, std::uint32_t most, std::uint32_t& value) {
    return read_number<std::uint32_t>(option, typed(option), 1, most, "", value);
  };
  SENG_TRY(read("slots", 1024, out.slots));
  SENG_TRY(read("threads-per-slot", 1024, out.threads_per_slot));
  SENG_TRY(read("actors-per-gpu", 64, out.actors_per_gpu));
  SENG_TRY(read_number("lease", typed("lease"), 0.05, 3600.0, " seconds", out.timeouts.lease_s));
  out.log_level = *log_level_of(raw.level);
  out.keep_actors = values.count("keep-actors") != 0;
  out.foreground = values.count("foreground") != 0;
  if (values.count("print-config") != 0) out.verb = DaemonOptions::Verb::kPrintConfig;
  if (values.count("version") != 0) out.verb = DaemonOptions::Verb::kVersion;
  if (values.count("help") != 0) out.verb = DaemonOptions::Verb::kHelp;
  return out;
}

}  // namespace seng
