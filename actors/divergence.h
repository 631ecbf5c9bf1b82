// Training that has left the numbers: what is looked at, and what the user is told.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "actors/workload.h"

namespace seng {

// No NaN and no infinity.
bool all_finite(std::span<const float> values);

// "diverged at step 12: the loss is not finite; lower optimizer.lr, ...". `what` is "the loss" or the like.
std::string divergence_text(const Workload& workload, std::uint64_t step, std::string_view what);

}  // namespace seng
