#include "actors/divergence.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

namespace seng {

bool all_finite(std::span<const float> values) {
  return std::all_of(values.begin(), values.end(), [](float value) { return std::isfinite(value); });
}

std::string divergence_text(const Workload& workload, std::uint64_t step, std::string_view what) {
  return fmt::format("diverged at step {}: {} is not finite; lower optimizer.lr{}{}", step, what,
                     workload.second_order ? ", raise optimizer.damping or set optimizer.trust_region" : "",
                     workload.scales_loss() ? "; or activations have left f16's range: bf16 has f32's" : "");
}

}  // namespace seng
