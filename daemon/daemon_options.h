// sengd's command line.
#pragma once

#include <cstdint>
#include <string>

#include "daemon/timeouts.h"
#include "protocol/base/error.h"
#include "protocol/base/log.h"

namespace seng {

struct DaemonOptions {
  enum class Verb { kServe, kHelp, kVersion, kPrintConfig } verb = Verb::kServe;
  std::string state_dir;               // empty: default_state_dir()
  std::uint32_t slots = 0;             // actors at a time; 0: as many as fit the cores
  std::uint32_t threads_per_slot = 1;  // an actor's lanes: fewer, wider actors move less data between them
  std::string device = "cpu";          // the actors': cpu, cuda, or auto: GPUs where they can be used
  std::uint32_t actors_per_gpu = 0;    // slots that share a GPU; 0: as many as slots ask for, else 1
  std::string nvml_library;            // empty: kNvmlLibrary
  bool foreground = false;             // stay, and log to stderr as well
  bool keep_actors = false;            // stopped, leave them training for the next daemon
  LogLevel log_level = LogLevel::kInfo;
  Timeouts timeouts;
  std::string actor_binary;  // empty: seng-actor beside sengd
};

// kInvalidArgument: a usage error, to be printed behind "sengd: ".
Result<DaemonOptions> parse_daemon_options(int argc, const char* const* argv);
std::string daemon_usage();

}  // namespace seng
