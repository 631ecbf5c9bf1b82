#include "actors/train_state.h"

namespace seng {

TrainState TrainState::initial(const Workload& workload) {
  TrainState state;
  state.parameters.resize(workload.network.parameter_count());
  state.momentum.resize(workload.network.parameter_count());
  state.statistics.resize(workload.network.statistics_count());
  state.curvature_steps.resize(workload.network.blocks().size());
  state.curvature_lambdas.resize(workload.network.blocks().size());
  if (workload.adapts_damping()) state.damping.lambda = workload.spec.optimizer.damping_initial;
  if (workload.scales_loss()) state.loss_scale.scale = workload.spec.engine_loss_scale;
  workload.network.initialise(workload.spec.seed, state.parameters, state.statistics);
  return state;
}

GroupEpoch lineage_in(const Workload& workload, const GroupEpoch& epoch) {
  return workload.spec.reduce == "fast" ? epoch : GroupEpoch{};
}

double next_damping(const Workload& workload, const TrainState& state) {
  return workload.adapts_damping() ? state.damping.lambda : workload.damping_at(state.step + 1);
}

CurvatureOptions curvature_options(const Workload& workload, std::uint32_t block) {
  const CurvatureSpec& spec = workload.spec.optimizer.curvature;
  CurvatureOptions options;
  options.micro_batches = static_cast<int>(workload.spec.micro_batches());
  options.samples_per_micro = workload.factor_samples;
  options.form = workload.fragments[block].form;
  options.kronecker = {spec.decay, spec.inverse_every, spec.every};
  options.workers = spec.mode == "local" ? static_cast<int>(spec.workers) : 1;
  const Approximations estimated = approximations(workload.spec.optimizer);
  options.sketch = estimated.sketch;
  options.product = estimated.product;
  options.stored = workload.stored;
  options.wire = workload.fragments[block].wire;
  options.seed = workload.spec.seed;
  options.index = block;
  options.device = workload.sample_device(block);
  return options;
}

Curvature empty_curvature(const Workload& workload, std::uint32_t block) {
  return Curvature(workload.network.blocks()[block], curvature_options(workload, block));
}

}  // namespace seng
