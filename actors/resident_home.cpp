#include "actors/resident_home.h"

#include <algorithm>

#include "actors/exchange/sum_pieces.h"
#include "protocol/base/error.h"

namespace seng {

bool may_be_resident(const Workload& workload, int lanes) {
  return lanes == 1 && workload.spec.optimizer.name != "lars" && !workload.adapts_damping();
}

int held_sums(const Workload& workload, int lanes) {
  const int held = sums_held(largest_piece(workload.spec.micro_batches(), lanes));
  return may_be_resident(workload, lanes) ? std::max(held, 1) : held;
}

std::unique_ptr<ResidentHome> ResidentHome::create(const Workload& workload, std::vector<Replica>& replicas) {
  if (replicas.size() != 1 || !may_be_resident(workload, 1)) return nullptr;
  auto state = replicas.front().plan_resident_state();
  if (!state) return nullptr;
  return std::unique_ptr<ResidentHome>(new ResidentHome(replicas.front(), std::move(state)));
}

ResidentHome::ResidentHome(Replica& replica, std::unique_ptr<ResidentState> state)
    : replica_(replica), state_(std::move(state)), vectors_(state_->plan_vectors(state_->plan())) {}

void ResidentHome::take_there(const TrainState& state) {
  if (there_) return;
  state_->put(state.parameters, state.momentum, state.statistics);
  there_ = true;
}

void ResidentHome::bring_home(TrainState& state) {
  if (home_) return;
  state_->get(state.parameters, state.momentum, state.statistics);
  home_ = true;
}

void ResidentHome::leave() {
  SENG_CHECK(home_, "the newest state was left on the GPU");
  there_ = false;
}

void ResidentHome::load() {
  SENG_CHECK(there_, "a step of a state that is the host's");
  replica_.load(*state_);
}

}  // namespace seng
