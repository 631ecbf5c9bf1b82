#include "actors/train_state.h"

namespace seng {

TrainState TrainState::initial(const Workload& workload) {
  TrainState state;
  state.parameters.resize(workload.network.parameter_count());
  state.momentum.resize(workload.network.parameter_count());
  state.statistics.resize(workload.network.statistics_count());
  state.curvature_steps.resize(workload.network.blocks().size());
  workload.network.initialise(workload.spec.seed, state.parameters, state.statistics);
  return state;
}

Curvature empty_curvature(const Workload& workload, std::uint32_t block) {
  return Curvature(workload.network.blocks()[block],
                   {.micro_batches = static_cast<int>(workload.spec.micro_batches()),
                    .samples_per_micro = workload.factor_samples,
                    .representation = workload.fragments[block].representation});
}

}  // namespace seng
