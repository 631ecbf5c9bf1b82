#include "cli/record_values.h"

#include <charconv>

#include <nlohmann/json.hpp>

#include "cli/text_format.h"
#include "protocol/spec/spec_tree.h"

namespace seng {
namespace {

using Json = nlohmann::ordered_json;

Json time_or_null(double seconds) {
  return seconds > 0 ? Json(seconds) : Json(nullptr);
}
Json known(bool is_known, double value) {
  return is_known ? Json(value) : Json(nullptr);
}
Json actor_or_null(ActorId actor) {
  return actor == kNoActor ? Json(nullptr) : Json(actor);
}

Json plain_value(const std::string& text) {
  if (text == "true" || text == "false") return text == "true";
  std::uint64_t whole = 0;
  double number = 0;
  const char *begin = text.data(), *end = begin + text.size();
  if (const auto read = std::from_chars(begin, end, whole); read.ec == std::errc() && read.ptr == end)
    return whole;
  if (const auto read = std::from_chars(begin, end, number); read.ec == std::errc() && read.ptr == end)
    return number;
  return text;
}

Json tree_value(const SpecNode& node) {
  switch (node.kind) {
    case SpecNode::Kind::kMissing:
    case SpecNode::Kind::kNull:
      return nullptr;
    case SpecNode::Kind::kScalar:
      return node.quoted ? Json(node.text) : plain_value(node.text);
    case SpecNode::Kind::kList: {
      Json list = Json::array();
      for (const SpecNode& item : node.items) list.push_back(tree_value(item));
      return list;
    }
    case SpecNode::Kind::kMap:
      break;
  }
  Json map = Json::object();
  for (const SpecNode::Entry& entry : node.entries) map[entry.key] = tree_value(entry.value);
  return map;
}

}  // namespace

bool knows_training(const JobRecord& job) {
  return job.step > 0 && job.train_accuracy >= 0;
}

bool has_diverged(const JobRecord& job) {
  return (knows_training(job) && !std::isfinite(job.train_loss)) ||
         (job.test_accuracy >= 0 && !std::isfinite(job.test_loss));
}

std::string checkpoint_note(const JobRecord& job) {
  if (job.checkpoint_error.empty() || is_terminal(job.state)) return "";
  return "its newest checkpoint cannot be written: " + one_line(job.checkpoint_error);
}

Json job_value(const JobRecord& job) {
  const bool trained = knows_training(job), tested = job.test_accuracy >= 0;
  return {{"id", job.id},
          {"name", job.name},
          {"state", job_state_name(job.state)},
          {"reason", job.reason},
          {"model", job.model},
          {"optimizer", job.optimizer},
          {"actors", job.actors},
          {"actors_min", job.actors_min},
          {"actors_max", job.actors_max},
          {"epochs", job.epochs},
          {"epochs_total", job.epochs_total},
          {"steps", job.step},
          {"steps_total", job.steps_total},
          {"samples_seen", job.samples_seen},
          {"train_loss", known(trained, job.train_loss)},
          {"train_accuracy", known(trained, job.train_accuracy)},
          {"test_loss", known(tested, job.test_loss)},
          {"test_accuracy", known(tested, job.test_accuracy)},
          {"diverged", has_diverged(job)},
          {"images_per_second", job.images_per_second},
          {"weights_sha256", job.weights_sha256},
          {"state_sha256", job.state_sha256},
          {"checkpoint", job.checkpoint},
          {"checkpoint_error", job.checkpoint_error},
          {"restarts", job.restarts},
          {"device_kind", job.device_kind.empty() ? Json(nullptr) : Json(job.device_kind)},
          {"group_epoch", to_string(job.epoch)},
          {"submitted_at", time_or_null(job.submitted_at)},
          {"started_at", time_or_null(job.started_at)},
          {"ended_at", time_or_null(job.ended_at)}};
}

Json actor_value(const ActorRecord& actor) {
  return {{"actor", actor.actor},
          {"node", actor.node},
          {"slot", actor.slot},
          {"state", actor.state},
          {"exit", actor.exit},
          {"pid", actor.pid},
          {"device", actor.device},
          {"first_micro", actor.first_micro},
          {"last_micro", actor.last_micro},
          {"step", actor.step},
          {"memory_bytes", actor.memory_bytes},
          {"bytes_sent", actor.bytes_sent},
          {"fragment_bytes_sent", actor.fragment_bytes_sent},
          {"curvature_bytes", actor.curvature_bytes},
          {"endpoint", actor.endpoint},
          {"log_path", actor.log_path}};
}

Json tuning_value(const TuningRecord& tuning) {
  if (tuning.choices.empty()) return nullptr;
  const bool measured = tuning.actor != kNoActor;
  return {{"device", tuning.device},
          {"count", tuning.count},
          {"actor", actor_or_null(tuning.actor)},
          {"at", time_or_null(tuning.at)},
          {"candidates", tuning.candidates},
          {"expected_ms", known(measured, tuning.expected_ms)},
          {"chosen_ms", known(measured, tuning.chosen_ms)},
          {"seconds", known(measured, tuning.seconds)},
          {"choices", tuning.choices}};
}

Json event_value(const EventRecord& event) {
  return {{"id", event.id},
          {"at", time_or_null(event.at)},
          {"job", event.job},
          {"actor", actor_or_null(event.actor)},
          {"severity", severity_name(event.severity)},
          {"kind", event.kind},
          {"text", event.text}};
}

Json step_value(const StepMetrics& step) {
  const bool of_maker = step.seconds > 0;  // told by the one who made it
  const auto own = [&](std::uint64_t bytes) { return of_maker ? Json(bytes) : Json(nullptr); };
  return {{"step", step.step},
          {"epoch", step.epoch},
          {"loss", step.loss},
          {"accuracy", step.accuracy},
          {"lr", step.lr},
          {"damping", step.damping},
          {"trust_scale", step.trust_scale},
          {"seconds", known(of_maker, step.seconds)},
          {"refreshed", step.refreshed},
          {"bytes_sent", own(step.bytes_sent)},
          {"fragment_bytes_sent", own(step.fragment_bytes_sent)},
          {"cosine", step.cosine},
          {"reduction_ratio", step.reduction_ratio == 0 ? Json(nullptr) : Json(step.reduction_ratio)},
          {"curvature_bytes", own(step.curvature_bytes)},
          {"refresh_seconds", step.refresh_seconds > 0 ? Json(step.refresh_seconds) : Json(nullptr)}};
}

Json epoch_value(const EpochMetrics& epoch) {
  const bool tested = epoch.test_accuracy >= 0;
  return {{"epoch", epoch.epoch},
          {"step", epoch.step},
          {"train_loss", epoch.train_loss},
          {"train_accuracy", epoch.train_accuracy},
          {"test_loss", known(tested, epoch.test_loss)},
          {"test_accuracy", known(tested, epoch.test_accuracy)},
          {"seconds", epoch.seconds},
          {"images_per_second", epoch.images_per_second}};
}

Json node_value(const NodeRecord& node) {
  Json slots = Json::array();
  for (const SlotRecord& slot : node.slots) {
    slots.push_back({{"slot", slot.slot},
                     {"device", slot.device},
                     {"threads", slot.threads},
                     {"job", slot.job == 0 ? Json(nullptr) : Json(slot.job)},
                     {"actor", actor_or_null(slot.actor)},
                     {"gpu", slot.gpu.empty() ? Json(nullptr) : Json(slot.gpu)}});
  }
  Json gpus = Json::array();
  for (const GpuRecord& gpu : node.gpus) {
    const bool known = gpu.memory_bytes > 0;
    gpus.push_back({{"uuid", gpu.uuid},
                    {"model", gpu.model},
                    {"memory_bytes", known ? Json(gpu.memory_bytes) : Json(nullptr)},
                    {"memory_used_bytes", known ? Json(gpu.memory_used_bytes) : Json(nullptr)},
                    {"utilisation", gpu.utilisation >= 0 ? Json(gpu.utilisation) : Json(nullptr)}});
  }
  return {{"name", node.name},           {"state", node.state},
          {"cores", node.cores},         {"memory_bytes", node.memory_bytes},
          {"cpu_model", node.cpu_model}, {"slots", std::move(slots)},
          {"gpus", std::move(gpus)}};
}

Json spec_value(const std::string& yaml) {
  SpecProblems problems;
  const SpecNode root = read_spec_tree(yaml, "job", true, problems);
  return problems.empty() && root.kind == SpecNode::Kind::kMap ? tree_value(root) : Json(yaml);
}

Json parsed_value(const std::string& json) {
  Json value = Json::parse(json, nullptr, false);
  return value.is_discarded() ? Json(nullptr) : value;
}

}  // namespace seng
