// What the owner of a block makes of its sum: the direction, and what goes with it to all members.
#pragma once

#include <cstdint>
#include <span>

#include "actors/engine/lanes.h"
#include "actors/exchange/exchange.h"
#include "actors/train_state.h"
#include "actors/workload.h"

namespace seng {

struct BlockInStep {
  std::uint32_t index = 0;
  std::span<float> sum;            // [gradient | statistics], over the global batch; becomes means
  Curvature* curvature = nullptr;  // null: of first order
  double damping = 0;              // of the step
};

// out = [direction | statistics]: F^-1 g of the mean gradient g, or g itself, and the statistics' mean over
// micro-batches. `state` is that before the step. The same bits for any number of lanes; what is said of
// flags and of a refused refresh is left to the caller.
PublishWord block_direction(const Workload& workload, const TrainState& state, const BlockInStep& block,
                            std::span<float> out, Lanes& lanes);

}  // namespace seng
