#include "actors/plan.h"

#include <algorithm>
#include <numeric>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "actors/optim/form_choice.h"
#include "actors/restore.h"
#include "actors/workload.h"

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
  Json errors = Json::array();
  for (std::size_t from = 0; from <= message.size();) {
    const std::size_t end = std::min(message.find('\n', from), message.size());
    if (end > from) errors.push_back(message.substr(from, end - from));
    from = end + 1;
  }
  return {text_of({{"ok", false}, {"errors", errors}}), false};
}

// Of all blocks together: what a group of one holds. More actors share it, each block held twice.
std::size_t curvature_bytes(const Workload& workload, std::size_t block) {
  if (!workload.second_order) return 0;
  return curvature_values(workload.network.blocks()[block], workload.fragments[block].form,
                          workload.spec.optimizer.curvature.samples) *
         sizeof(float);
}

// While a block's Kronecker factors are renewed: sums in double, or the decomposition's work space.
std::size_t renewal_bytes(const Block& block) {
  const KroneckerShape shape = kronecker_shape(block);
  return (shape.n * shape.n + shape.m * shape.m) * sizeof(double);
}

// What is formed of the curvature: N x N systems in double, one a block with samples' gradients, and one more
// while it is formed; of Kronecker factors eigenvectors, a refresh's fragments, and the largest block's
// renewal.
std::size_t formed_bytes(const Workload& workload) {
  if (!workload.second_order) return 0;
  const std::size_t samples = workload.spec.optimizer.curvature.samples;
  const std::size_t system = samples * samples * sizeof(double);
  std::size_t bytes = 0, work = system;
  for (std::size_t i = 0; i < workload.fragments.size(); ++i) {
    const FragmentShape& shape = workload.fragments[i];
    const Block& block = workload.network.blocks()[i];
    if (shape.form.representation == Representation::kKronecker) {
      bytes += seng::curvature_bytes(block, shape.form, samples) - curvature_bytes(workload, i) +
               shape.floats * workload.spec.micro_batches() * sizeof(float);
      work = std::max(work, renewal_bytes(block));
    } else {
      bytes += shape.floats > 0 ? system : 0;
    }
  }
  return bytes + work;
}

Json blocks_json(const Workload& workload) {
  Json blocks = Json::array();
  const auto& all = workload.network.blocks();
  for (std::size_t i = 0; i < all.size(); ++i) {
    const Block& b = all[i];
    const FormCost cost = workload.second_order ? form_cost(b, workload.fragments[i].form,
                                                            workload.spec.optimizer.curvature.samples)
                                                : FormCost{};
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
         {"curvature_bytes", curvature_bytes(workload, i)}});
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
  auto workload = load_workload(*spec);
  if (!workload) return refused(workload.error().message);
  const auto initial = initial_json(*workload);
  if (!initial) return refused(initial.error().message);
  auto replica = replica_bytes(*workload);
  if (!replica) return refused(replica.error().message);

  const int actor_lanes = spec->lanes > 0 ? static_cast<int>(spec->lanes) : lanes;
  const Network& network = workload->network;
  std::size_t curvature = 0;
  for (std::size_t i = 0; i < network.blocks().size(); ++i) curvature += curvature_bytes(*workload, i);
  // A refresh holds the new curvature beside the one in force, and the fragments that wait to be taken; and
  // the one before, where a checkpoint is still being written of it.
  const std::size_t held = spec->checkpoint_every_steps > 0 ? 4 : 3;
  const std::size_t curvature_peak = held * curvature + formed_bytes(*workload);
  // Weights, momentum, and a step's sums and directions with the tree's partial sums.
  const std::size_t state = network.parameter_count() * sizeof(float) * (4 + std::size_t(actor_lanes) + 2);
  const std::size_t images = network.input().count() * sizeof(float) * spec->batch_micro;
  const std::size_t ahead = spec->data_workers > 0 ? spec->data_prefetch : 0;
  const std::size_t data = workload->data.train->bytes() + workload->data.test->bytes() +
                           images * (ahead + std::size_t(actor_lanes));
  const std::size_t total = *replica * actor_lanes + state + curvature_peak + data;

  Json plan{{"ok", true},
            {"parameters", network.parameter_count()},
            {"statistics", network.statistics_count()},
            {"steps_total", workload->steps_total},
            {"epochs_total", workload->epochs_total},
            {"train_samples", workload->data.train->size()},
            {"test_samples", workload->data.test->size()},
            {"initial", *initial},
            {"lanes", actor_lanes},
            {"memory_per_actor_bytes", total},
            {"memory",
             {{"replicas", *replica * actor_lanes},
              {"state", state},
              {"curvature", curvature_peak},
              {"data", data}}},
            {"blocks", blocks_json(*workload)}};
  return {text_of(plan), true};
}

}  // namespace seng
