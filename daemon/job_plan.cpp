#include "daemon/job_plan.h"

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "protocol/base/text.h"
#include "protocol/spec/job_spec.h"

namespace seng {
namespace {

using Json = nlohmann::json;

std::string joined_errors(const Json& plan) {
  std::string text;
  const auto errors = plan.find("errors");
  if (errors != plan.end() && errors->is_array()) {
    for (const Json& error : *errors) {
      if (!error.is_string()) continue;
      if (!text.empty()) text += '\n';
      text += error.get<std::string>();
    }
  }
  return text.empty() ? "seng-actor refuses the job without a reason" : text;
}

Status read_numbers(const Json& plan, JobPlan& out) {
  const auto number = [&](const char* key) -> Result<double> {
    const auto found = plan.find(key);
    if (found == plan.end() || !found->is_number() || found->get<double>() < 0) {
      return fail(ErrorCode::kInternal, fmt::format("seng-actor's plan has no number \"{}\"", key));
    }
    return found->get<double>();
  };
  const auto steps = number("steps_total"), epochs = number("epochs_total"),
             samples = number("train_samples"), memory = number("memory_per_actor_bytes");
  for (const auto* value : {&steps, &epochs, &samples, &memory}) {
    if (!*value) return fail(value->error());
  }
  out.steps_total = static_cast<std::uint64_t>(*steps);
  out.epochs_total = *epochs;
  out.train_samples = static_cast<std::uint64_t>(*samples);
  out.memory_per_actor = static_cast<std::uint64_t>(*memory);
  if (const auto gpu = plan.find("gpu_memory_per_actor_bytes");
      gpu != plan.end() && gpu->is_number_unsigned())
    out.gpu_memory_per_actor = gpu->get<std::uint64_t>();
  return {};
}

// Of a job that begins with its seed, or that was planned by an older seng-actor: empty.
std::string initial_sha256(const Json& plan) {
  const Json initial = plan.value("initial", Json());
  for (const char* key : {"state_sha256", "sha256"}) {
    if (!initial.is_object() || !initial.contains(key) || !initial[key].is_string()) continue;
    return initial[key].get<std::string>();
  }
  return "";
}

}  // namespace

Result<JobPlan> make_job_plan(const std::string& spec_yaml, const std::string& source,
                              const std::string& plan_json) {
  const auto spec = parse_job_spec(spec_yaml, source);
  if (!spec) return fail(spec.error());
  const Json plan = Json::parse(plan_json, nullptr, false);
  if (!plan.is_object()) return fail(ErrorCode::kInternal, "seng-actor's plan is not JSON");
  if (!plan.contains("ok") || plan["ok"] != true)
    return fail(ErrorCode::kInvalidArgument, joined_errors(plan));
  JobPlan out;
  SENG_TRY(read_numbers(plan, out));
  out.name = spec->name;
  out.model = spec->model_label();
  out.optimizer = spec->optimizer.name;
  out.batch_global = spec->batch_global;
  out.micro_batches = spec->micro_batches();
  out.actors_min = spec->actors_min;
  out.actors_max = std::min(spec->actors_max, out.micro_batches);
  out.lanes = spec->lanes;
  out.restarts_max = spec->restart_max;
  out.restart_window_s = spec->restart_window_s;
  out.priority = spec->priority;
  out.precision = spec->engine_precision;
  out.insists_on_nccl = spec->exchange == "nccl";
  out.fast_reduce = spec->reduce == "fast";
  out.mixed_devices = spec->allow_mixed_devices;
  out.initial_sha256 = initial_sha256(plan);
  out.begins_with = spec->initial_checkpoint.empty() ? spec->initial_weights : spec->initial_checkpoint;
  if (const auto ranks = plan.find("ranks"); ranks != plan.end() && ranks->is_string())
    out.ranks = ranks->get<std::string>();
  out.tune = spec->engine_tune;
  if (const auto choices = plan.find("choices"); choices != plan.end() && choices->is_string())
    out.choices = choices->get<std::string>();
  return out;
}

std::string decided_spec(const std::string& spec_yaml, const JobPlan& plan) {
  const bool choices = plan.tune && !plan.choices.empty();
  if (plan.ranks.empty() && !choices) return spec_yaml;
  auto spec = parse_job_spec(spec_yaml, "job");
  if (!spec) return spec_yaml;  // the actor says what is wrong
  if (!plan.ranks.empty()) spec->optimizer.curvature.ranks = plan.ranks;
  if (choices) spec->engine_choices = plan.choices;
  return to_yaml(*spec);
}

namespace {

std::uint64_t mebibytes(std::uint64_t bytes) {
  return (bytes + (1 << 20) - 1) >> 20;
}

// What GPUs alone can do, and each actor has to.
struct GpuNeed {
  const char* key;      // of the job
  std::string what;     // it says, and why that is a GPU's
  const char* instead;  // what the key may say on the CPU
  bool nccl = false;    // it needs NCCL too
};

std::vector<GpuNeed> gpu_needs(const JobPlan& plan) {
  std::vector<GpuNeed> needs;
  if (plan.precision != "f32")
    needs.push_back(
        {"engine.precision", plan.precision + ", which GPUs compute in and the CPU does not", "f32"});
  if (plan.insists_on_nccl)
    needs.push_back({"exchange.path", "nccl, which is between GPUs and the CPU has not", "auto", true});
  if (plan.fast_reduce)
    needs.push_back(
        {"exchange.reduce", "fast, which NCCL does between GPUs and the CPU cannot", "ordered", true});
  return needs;
}

Status check_gpus(const JobPlan& plan, const NodeLimits& node) {
  for (const GpuNeed& need : gpu_needs(plan)) {
    const std::string begin = fmt::format("{}: {}; ", need.key, need.what);
    const std::string way_out = fmt::format(": set {} to {}", need.key, need.instead);
    if (plan.actors_min > node.gpu_slots)
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("{}of the {} of this node {}{}, or start sengd with --device cuda", begin,
                              counted(node.slots, "slot"),
                              node.gpu_slots == 0   ? "none is a GPU's"
                              : node.gpu_slots == 1 ? "only 1 is a GPU's"
                                                    : fmt::format("only {} are GPUs'", node.gpu_slots),
                              way_out));
    if (need.nccl && !node.nccl)
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("{}the actors of this node have no NCCL (libseng_nccl.so beside seng-actor)"
                              "{}, or build where nccl.h is found",
                              begin, way_out));
  }
  if (node.gpu_slots == node.slots && node.gpu_memory_bytes > 0 &&
      plan.gpu_memory_per_actor > node.gpu_memory_bytes) {
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("each actor of the job needs about {} MiB of a GPU's memory, but the largest GPU of this "
                    "node has {} MiB: lower batch.micro, actors.lanes or optimizer.curvature.samples, set "
                    "engine.checkpoint_activations or engine.precision",
                    mebibytes(plan.gpu_memory_per_actor), mebibytes(node.gpu_memory_bytes)));
  }
  return {};
}

}  // namespace

Status check_fit(const JobPlan& plan, const NodeLimits& node) {
  if (plan.actors_min > plan.micro_batches) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("actors.min: {}, but the global batch has only {} to share: lower "
                            "actors.min or batch.micro",
                            plan.actors_min, counted(plan.micro_batches, "micro-batch")));
  }
  if (plan.actors_min > node.slots) {
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("actors.min: {}, but this node has {}: lower actors.min, or start sengd with --slots {}",
                    plan.actors_min, counted(node.slots, "slot"), plan.actors_min));
  }
  if (!plan.mixed_devices && plan.actors_min > node.slots_of_one_kind) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("actors.min: {}, but of the {} slots of this node at most {} are on one kind of "
                            "device: lower actors.min, or set allow_mixed_devices",
                            plan.actors_min, node.slots, node.slots_of_one_kind));
  }
  SENG_TRY(check_gpus(plan, node));
  if (node.memory_bytes > 0 && plan.memory_per_actor > node.memory_bytes / plan.actors_min) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("the job needs about {} MiB for each of at least {}, but this node has {} MiB: "
                            "lower batch.micro, actors.lanes, actors.min or optimizer.curvature.samples",
                            mebibytes(plan.memory_per_actor), counted(plan.actors_min, "actor"),
                            mebibytes(node.memory_bytes)));
  }
  return {};
}

JobRecord record_of(const JobPlan& plan, JobId id, double now) {
  JobRecord record;
  record.id = id;
  record.name = plan.name;
  record.model = plan.model;
  record.optimizer = plan.optimizer;
  record.submitted_at = now;
  record.actors_min = plan.actors_min;
  record.actors_max = plan.actors_max;
  record.steps_total = plan.steps_total;
  record.epochs_total = plan.epochs_total;
  record.revision = 1;
  return record;
}

}  // namespace seng
