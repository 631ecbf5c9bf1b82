#include "actors/plan.h"

#include <algorithm>
#include <numeric>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "actors/engine/convolution_choices.h"
#include "actors/gpu_memory.h"
#include "actors/restore.h"
#include "actors/step_update.h"
#include "actors/warm_up_service.h"
#include "actors/workload.h"
#include "protocol/base/text.h"

namespace seng {

namespace {

using Json = nlohmann::ordered_json;

const char* kind_name(BlockKind kind) {
  switch (kind) {
    case BlockKind::kConvolution:
      return "convolution";
    case BlockKind::kLinear:
      return "linear";
    case BlockKind::kBatchNorm:
      return "batch_norm";
  }
  return "";
}

// Paths may be any bytes; JSON is UTF-8.
std::string text_of(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

PlanOutcome refused(const std::string& message) {
  return {text_of({{"ok", false}, {"errors", split_errors(message)}}), false};
}

// The samples or factors alone, as they are stored. Of all blocks together what a group of one holds; more
// actors share it, each block held twice.
std::size_t stored_bytes(const Workload& workload, std::size_t block) {
  if (!workload.second_order) return 0;
  return curvature_values(workload.network.blocks()[block], workload.fragments[block].form,
                          workload.spec.optimizer.curvature.samples) *
         bytes_of(workload.stored);
}

// What is formed of them: the N x N system in double, and the samples' sketches; or the factors'
// eigenvectors. Of a refresh beside that before, until its step is committed.
std::size_t formed_bytes(const Workload& workload, std::size_t block) {
  return block_cost(workload, block).bytes - stored_bytes(workload, block);
}

// While a block's Kronecker factors are renewed: sums in double, or the decomposition's work space. One block
// at a time.
std::size_t renewal_bytes(const Workload& workload) {
  std::size_t most = 0;
  for (std::size_t i = 0; i < workload.fragments.size(); ++i) {
    if (workload.fragments[i].form.representation != Representation::kKronecker) continue;
    const KroneckerShape shape = kronecker_shape(workload.network.blocks()[i]);
    most = std::max(most, (shape.n * shape.n + shape.m * shape.m) * sizeof(double));
  }
  return most;
}

// The most that a member holds for those who join: a snapshot of weights, momentum and statistics, and the
// records of the steps since. Who joins holds less.
std::size_t joining_bytes(const Workload& workload) {
  const Network& network = workload.network;
  const std::size_t record = step_record_bytes(workload);
  return (2 * network.parameter_count() + network.statistics_count()) * sizeof(float) +
         WarmUpLimits().records(record) * record;
}

Json blocks_json(const Workload& workload) {
  Json blocks = Json::array();
  const auto& all = workload.network.blocks();
  for (std::size_t i = 0; i < all.size(); ++i) {
    const Block& b = all[i];
    const FormCost cost = block_cost(workload, i);
    blocks.push_back(
        {{"name", b.name},
         {"kind", kind_name(b.kind)},
         {"m", b.m},
         {"n", b.n},
         {"positions", b.positions},
         {"parameters", b.count},
         {"representation",
          workload.second_order ? representation_name(workload.fragments[i].form.representation) : "none"},
         {"rank", workload.second_order ? workload.fragments[i].form.rank : 0},
         {"model_step_ms", cost.step_seconds * 1e3},
         {"model_refresh_ms", cost.refresh_seconds * 1e3},
         {"step_operations", cost.step_operations},
         {"step_bytes", cost.step_bytes},
         {"refresh_operations", cost.refresh_operations},
         {"refresh_bytes", cost.refresh_bytes},
         {"curvature_bytes", cost.bytes}});
  }
  return blocks;
}

// What the job begins with, read whole: null for its seed.
Result<Json> initial_json(const Workload& workload) {
  const JobSpec& spec = workload.spec;
  if (spec.initial_checkpoint.empty() && spec.initial_weights.empty()) return Json(nullptr);
  const auto state = beginning(workload);
  if (!state) return fail(state.error());
  if (state->step >= workload.steps_total)
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("initial.checkpoint: {} is of step {}, and the job ends with step {}: nothing is left "
                    "to do; expected more steps or epochs",
                    state->source, state->step, workload.steps_total));
  if (state->state_sha256.empty())
    return Json{{"step", state->step}, {"weights", state->source}, {"sha256", initial_sha256(*state)}};
  return Json{{"step", state->step}, {"checkpoint", state->source}, {"state_sha256", state->state_sha256}};
}

}  // namespace

PlanOutcome plan_job(const std::string& spec_yaml, int lanes) {
  auto spec = parse_job_spec(spec_yaml, "job");
  if (!spec) return refused(spec.error().message);
  take_decided(*spec);
  if (spec->engine_tune && !spec->engine_choices.empty()) {
    const auto choices = ConvolutionChoices::parse(spec->engine_choices);
    if (!choices) return refused(choices.error().with_context("engine.choices").message);
  }
  auto workload = load_workload(*spec);
  if (!workload) return refused(workload.error().message);
  const auto initial = initial_json(*workload);
  if (!initial) return refused(initial.error().message);
  const auto replica = replica_memory(*workload);
  if (!replica) return refused(replica.error().message);

  const int actor_lanes = spec->lanes > 0 ? static_cast<int>(spec->lanes) : lanes;
  const Network& network = workload->network;
  std::size_t curvature = 0, formed = 0;
  for (std::size_t i = 0; i < network.blocks().size(); ++i) {
    curvature += stored_bytes(*workload, i);
    formed += formed_bytes(*workload, i);
  }
  // A refresh holds the new curvature beside the one in force, and the fragments that wait to be taken; the
  // one before, where a checkpoint is still being written of it; and one that waits, where every step renews.
  const std::size_t late = workload->overlaps() && spec->optimizer.curvature.every == 1 ? 1 : 0;
  const std::size_t held = (spec->checkpoint_every_steps > 0 ? 3 : 2) + late;
  std::size_t fragments = 0;
  for (const FragmentShape& shape : workload->fragments)
    fragments += shape.words * sizeof(float) * spec->micro_batches();
  const std::size_t curvature_peak =
      held * curvature + fragments + (2 + late) * formed + renewal_bytes(*workload);
  // Copies of weights, momentum and statistics.
  const std::size_t checkpoint = (2 * network.parameter_count() + network.statistics_count()) * sizeof(float);
  const std::size_t joining = joining_bytes(*workload);
  // Weights, momentum, and a step's sums and directions with the tree's partial sums.
  const std::size_t state = network.parameter_count() * sizeof(float) * (4 + std::size_t(actor_lanes) + 2);
  const std::size_t images = network.input().count() * sizeof(float) * spec->batch_micro;
  const std::size_t ahead = spec->data_workers > 0 ? spec->data_prefetch : 0;
  const std::size_t data = workload->data.train->bytes() + workload->data.test->bytes() +
                           images * (ahead + std::size_t(actor_lanes));
  const std::size_t total =
      replica->bytes * actor_lanes + state + curvature_peak + checkpoint + joining + data;

  const GpuMemory gpu = gpu_memory(*workload, *replica, actor_lanes);
  Json plan{{"ok", true},
            {"parameters", network.parameter_count()},
            {"statistics", network.statistics_count()},
            {"steps_total", workload->steps_total},
            {"epochs_total", workload->epochs_total},
            {"train_samples", workload->data.train->size()},
            {"test_samples", workload->data.test->size()},
            {"initial", *initial},
            {"ranks", workload->spec.optimizer.curvature.ranks},
            {"choices", workload->spec.engine_choices},
            {"lanes", actor_lanes},
            {"activations_per_lane_bytes", replica->activations},
            {"memory_per_actor_bytes", total},
            {"memory",
             {{"replicas", replica->bytes * actor_lanes},
              {"state", state},
              {"curvature", curvature_peak},
              {"checkpoint", checkpoint},
              {"joining", joining},
              {"data", data}}},
            {"gpu_memory_per_actor_bytes", gpu.total()},
            {"gpu_memory",
             {{"replicas", gpu.replicas},
              {"sums", gpu.sums},
              {"samples", gpu.samples},
              {"libraries", gpu.libraries}}},
            {"blocks", blocks_json(*workload)}};
  return {text_of(plan), true};
}

}  // namespace seng
