#include "actors/train_state.h"

namespace seng {

TrainState TrainState::initial(const Workload& workload) {
  TrainState state;
  state.parameters.resize(workload.network.parameter_count());
  state.momentum.resize(workload.network.parameter_count());
  state.statistics.resize(workload.network.statistics_count());
  workload.network.initialise(workload.spec.seed, state.parameters, state.statistics);
  return state;
}

}  // namespace seng
