// What training changes: the state "step t" that every member of the group holds alike (weights, momentum,
// running statistics), and the curvature of the blocks that this actor owns or backs up.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "actors/optim/curvature.h"
#include "actors/workload.h"

namespace seng {

struct TrainState {
  std::uint64_t step = 0;  // committed steps
  std::vector<float> parameters, momentum, statistics;
  std::map<std::uint32_t, Curvature> curvature;  // by block

  // The state of step 0: initialised from the job's seed.
  static TrainState initial(const Workload& workload);

  std::span<const float> parameters_of(const Block& block) const {
    return std::span(parameters).subspan(block.offset, block.count);
  }
};

}  // namespace seng
