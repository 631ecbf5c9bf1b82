// The loss scale of f16: the loss is multiplied by a power of two on the way back, so that small gradients
// are not lost in 16 bits (Micikevicius et al., "Mixed precision training", ICLR 2018, arXiv 1710.03740,
// section 3.2). A gradient that overflows has a value that is not finite in its sum, and so in the direction,
// which every member has: all leave the step's update out alike and halve the scale. So the scale is the same
// for any number of actors, and it is part of the training state.
#pragma once

#include <cstdint>

namespace seng {

struct LossScale {
  double scale = 0;              // 0: gradients are not scaled
  std::uint64_t good_steps = 0;  // since it changed
  bool operator==(const LossScale&) const = default;
};

inline constexpr double kMostLossScale = 1 << 24;
inline constexpr std::uint64_t kLossScaleGrowth = 2000;  // good steps, after which it doubles

// Whether a step whose direction is not finite is left out: with a scale of 1 there is no overflow that a
// smaller one would prevent, and the training has diverged.
inline bool may_leave_out(const LossScale& scale) {
  return scale.scale > 1;
}

inline LossScale after_overflow(const LossScale& scale) {
  return {scale.scale > 1 ? scale.scale / 2 : scale.scale, 0};
}

inline LossScale after_good_step(const LossScale& scale) {
  if (scale.scale == 0) return scale;
  if (scale.good_steps + 1 < kLossScaleGrowth) return {scale.scale, scale.good_steps + 1};
  return {scale.scale < kMostLossScale ? scale.scale * 2 : scale.scale, 0};
}

}  // namespace seng
