#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/job_tables.h"
#include "cli/record_values.h"
#include "cli/text_format.h"
#include "protocol/base/text.h"

namespace seng {

ExitCode run_nodes(const Arguments& arguments, Session& session) {
  const auto reply = session.client().ask<NodesReply>(NodesRequest{});
  if (!reply) return session.fail(reply.error());
  Console& console = session.console();
  if (arguments.format() != OutputFormat::kTable) {
    auto nodes = nlohmann::ordered_json::array();
    for (const NodeRecord& node : reply->nodes) nodes.push_back(node_value(node));
    print_value(console, arguments.format(), {{"nodes", std::move(nodes)}});
    return ExitCode::kOk;
  }
  for (const NodeRecord& node : reply->nodes) {
    console.out << fmt::format("{}: {}, {} of memory, {}\n", one_line(node.name), counted(node.cores, "core"),
                               format_bytes(node.memory_bytes), one_line(node.cpu_model));
  }
  console.out << "\n";
  slot_table(reply->nodes).print(console);
  if (std::any_of(reply->nodes.begin(), reply->nodes.end(),
                  [](const NodeRecord& n) { return !n.gpus.empty(); })) {
    console.out << "\n";
    gpu_table(reply->nodes).print(console);
  }
  return ExitCode::kOk;
}

}  // namespace seng
