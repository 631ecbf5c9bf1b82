// What a committed step does to the state, the same on whoever applies it: a member of the group, from the
// exchange, or a newcomer that follows it, from a member's record.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "actors/engine/lanes.h"
#include "actors/engine/update_coefficients.h"
#include "actors/exchange/exchange.h"
#include "actors/train_state.h"
#include "actors/workload.h"

namespace seng {

double learning_rate_at(const Workload& workload, std::uint64_t step);

struct AppliedStep {
  double trust_scale = 1;         // of the trust region
  double loss = 0, accuracy = 0;  // means over the global batch
  double cosine = 1;              // of the angle between direction and gradient
  double reduction_ratio = 0;     // of the step before, where this one judges it
  bool left_out = false;          // its gradients overflowed: no more than the loss scale has changed
};
// Where a step's vectors are, when they are not StepComplete's and the state's: on a device.
class StepVectors {
 public:
  virtual ~StepVectors() = default;
  virtual bool overflowed() = 0;  // a direction or a statistic is not finite
  virtual void update(const UpdateCoefficients& coefficients) = 0;  // momentum, weights, running statistics
};
// Makes `state`, of step t, that of step t + 1: momentum, weights, running statistics, which refreshes are in
// force, and the step's numbers. Where gradients overflowed f16 (loss_scale.h) the first three stay as they
// are. The objects in state.curvature are the caller's. Bit for bit the same for any number of lanes.
AppliedStep apply_step(const Workload& workload, const StepComplete& step, Lanes& lanes, TrainState& state);
// The same where the vectors are elsewhere: of step.directions only the summary is looked at. Not for lars.
AppliedStep apply_step(const Workload& workload, const StepComplete& step, StepVectors& vectors,
                       TrainState& state);

// A committed step as a newcomer gets it: everything that apply_step() takes, and the leader's flags. Of one
// size for a network. Little-endian: flags (u64); per block g^T d (f64), then whether its refresh was refused
// (u64), then the model's kModelTerms (f64), then |g|^2, then |d|^2; the directions of all blocks, the
// summary last (f32).
std::size_t step_record_bytes(const Workload& workload);
void write_step_record(const StepComplete& step, std::span<std::byte> into);
// The directions point into `record`, which is aligned to 8 bytes and as long as step_record_bytes().
StepComplete read_step_record(const Workload& workload, std::span<const std::byte> record);

}  // namespace seng
