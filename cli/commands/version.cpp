#include "protocol/base/version.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/text_format.h"
#include "protocol/wire/envelope.h"

namespace seng {

// Without a daemon it says sengctl's own version and is content.
ExitCode run_version(const Arguments& arguments, Session& session) {
  using Json = nlohmann::ordered_json;
  const auto reply = session.client().ask<VersionReply>(VersionRequest{});
  Console& console = session.console();
  const std::string protocol = fmt::format("{}.{}", kProtocolMajor, kProtocolMinor);
  if (arguments.format() != OutputFormat::kTable) {
    Json daemon = nullptr;
    if (reply) {
      daemon = {{"version", reply->version},
                {"protocol", fmt::format("{}.{}", reply->protocol_major, reply->protocol_minor)},
                {"pid", reply->pid},
                {"started_at", reply->started_at},
                {"state_dir", reply->state_dir},
                {"node", reply->node}};
    }
    print_value(console, arguments.format(),
                {{"client", {{"version", seng_version()}, {"protocol", protocol}}}, {"daemon", daemon}});
    return ExitCode::kOk;
  }
  console.out << fmt::format("sengctl {} (protocol {})\n", seng_version(), protocol);
  if (reply) {
    console.out << fmt::format("sengd   {} (protocol {}.{}) on {}, pid {}, since {}, state directory {}\n",
                               reply->version, reply->protocol_major, reply->protocol_minor, reply->node,
                               reply->pid, format_time(reply->started_at), reply->state_dir);
  } else {
    console.err << fmt::format("no answer from a sengd at {}\n", session.endpoint());
  }
  return ExitCode::kOk;
}

}  // namespace seng
