// seng-actor's command line. People do not start it by hand: sengd does (`run`), and sengctl and sengd ask it
// what a job needs (`plan`).
#pragma once

#include <optional>
#include <string>

#include "protocol/base/error.h"
#include "protocol/base/ids.h"

namespace seng {

struct ActorCommandLine {
  enum class Verb { kRun, kPlan, kHelp, kVersion } verb = Verb::kHelp;
  std::string daemon_endpoint;
  std::string node = "local";
  std::string peer_dir;
  std::string device = "cpu";  // cpu | cuda | auto
  JobId job = 0;
  ActorId actor = 0;
  int lanes = 1;
  int host_threads = 0;  // 0: as many as lanes
};

// Error: kInvalidArgument, a usage message.
Result<ActorCommandLine> parse_command_line(int argc, const char* const* argv);
std::string usage();

}  // namespace seng
