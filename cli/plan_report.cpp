#include "cli/plan_report.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/table.h"
#include "cli/text_format.h"

namespace seng {
namespace {

using Json = nlohmann::ordered_json;

// nullptr where the field is not there.
const Json* field(const Json& object, const char* name) {
  const auto found = object.is_object() ? object.find(name) : object.end();
  return object.is_object() && found != object.end() ? &*found : nullptr;
}

std::string bytes_text(const Json& value) {
  return value.is_number_unsigned() ? format_bytes(value.get<std::uint64_t>()) : "-";
}

std::string plain_text(const Json* value) {
  if (value == nullptr) return "-";
  return value->is_string() ? value->get<std::string>()
                            : value->dump(-1, ' ', false, Json::error_handler_t::replace);
}

// "-" for the full rank.
std::string rank_text(const Json& block) {
  const Json* rank = field(block, "rank");
  return rank == nullptr || *rank == 0 ? "-" : plain_text(rank);
}

// A sum and what it is made of; nothing where the plan has none.
void print_memory(const Json& plan, const char* what, const char* sum, const char* parts_of,
                  Console& console) {
  const Json* memory = field(plan, sum);
  if (memory == nullptr) return;
  std::string parts;
  if (const Json* of = field(plan, parts_of); of != nullptr && of->is_object()) {
    for (const auto& [name, bytes] : of->items())
      parts += fmt::format("{}{} {}", parts.empty() ? "" : ", ", one_line(name), bytes_text(bytes));
  }
  console.out << fmt::format("{:<18} {}{}\n", what, bytes_text(*memory),
                             parts.empty() ? "" : " (" + parts + ")");
}

// What the cost model says, of one lane.
std::string model_ms(const Json& block, const char* name) {
  const Json* value = field(block, name);
  return value != nullptr && value->is_number() ? fmt::format("{:.2f}", value->get<double>()) : "-";
}

}  // namespace

void print_plan_summary(const Json& plan, Console& console) {
  const auto line = [&](const char* what, const char* name) {
    if (const Json* value = field(plan, name))
      console.out << fmt::format("{:<18} {}\n", what, plain_text(value));
  };
  line("parameters", "parameters");
  line("statistics", "statistics");
  line("steps", "steps_total");
  if (const Json* epochs = field(plan, "epochs_total"); epochs != nullptr && epochs->is_number())
    console.out << fmt::format("{:<18} {}\n", "epochs", format_count(epochs->get<double>()));
  line("training samples", "train_samples");
  line("test samples", "test_samples");
  if (const Json* initial = field(plan, "initial"); initial != nullptr && initial->is_object()) {
    const Json* from = field(*initial, "checkpoint");
    if (from == nullptr) from = field(*initial, "weights");
    console.out << fmt::format("{:<18} step {} of {}\n", "begins with", plain_text(field(*initial, "step")),
                               one_line(plain_text(from)));
  }
  if (const Json* activations = field(plan, "activations_per_lane_bytes"))
    console.out << fmt::format("{:<18} {}\n", "activations a lane", bytes_text(*activations));
  print_memory(plan, "memory per actor", "memory_per_actor_bytes", "memory", console);
  print_memory(plan, "and of a GPU", "gpu_memory_per_actor_bytes", "gpu_memory", console);
}

void print_plan_blocks(const Json& plan, Console& console) {
  const Json* blocks = field(plan, "blocks");
  if (blocks == nullptr || !blocks->is_array()) return;
  Table table({{"BLOCK", false, true},
               {"KIND"},
               {"M", true},
               {"N", true},
               {"POSITIONS", true},
               {"PARAMETERS", true},
               {"CURVATURE"},
               {"RANK", true},
               {"STEP MS", true},
               {"REFRESH MS", true},
               {"BYTES", true}});
  for (const Json& block : *blocks) {
    const Json* bytes = field(block, "curvature_bytes");
    table.add({plain_text(field(block, "name")), plain_text(field(block, "kind")),
               plain_text(field(block, "m")), plain_text(field(block, "n")),
               plain_text(field(block, "positions")), plain_text(field(block, "parameters")),
               plain_text(field(block, "representation")), rank_text(block), model_ms(block, "model_step_ms"),
               model_ms(block, "model_refresh_ms"), bytes == nullptr ? "-" : bytes_text(*bytes)});
  }
  table.print(console);
}

}  // namespace seng
