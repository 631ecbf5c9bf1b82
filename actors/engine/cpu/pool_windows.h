// Max pooling whose windows are disjoint (stride = kernel, no padding), over memory in blocks of 16 channels.
// oneDNN's general pooling takes three times as long there, and was 28 % of a training step of lenet.
#pragma once

#include <memory>

#include "actors/engine/backend.h"

namespace seng::cpu {

// Null where the plan is not of that kind.
std::unique_ptr<Pool> plan_disjoint_max_pool(const PoolPlan& plan);

}  // namespace seng::cpu
