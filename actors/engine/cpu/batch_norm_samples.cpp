#include "actors/engine/cpu/batch_norm_samples.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace seng::cpu {
namespace {

constexpr int kLanes = 16;        // the most channels at a time
constexpr std::size_t kRun = 64;  // positions that are added in float

// Of the channels at hand, as many as there are lanes.
struct Constants {
  alignas(64) float center[kLanes], scale[kLanes], gamma[kLanes], beta[kLanes];
  float threshold;  // values at or below it pass no gradient
};

struct Kernels {
  // `lanes` is 16, 8 or 1; dgamma, dbeta: [lanes].
  void (*channels)(int lanes, const Constants&, const float* x, const float* dy, std::size_t positions,
                   std::size_t stride, double* dgamma, double* dbeta);
  void (*row)(const Constants&, const float* x, const float* dy, std::size_t positions, double* dgamma,
              double* dbeta);
};

#define SENG_KERNELS_FILE "actors/engine/cpu/batch_norm_samples_kernels.inc"
#include "actors/engine/cpu/per_instruction_set.inc"

Constants constants_of(const NormConstants& all, std::size_t first, std::size_t count) {
  Constants out{};
  for (std::size_t i = 0; i < count; ++i) {
    out.center[i] = all.mean[first + i];
    out.scale[i] = 1.0f / std::sqrt(all.variance[first + i] + all.epsilon);
    out.gamma[i] = all.gamma[first + i];
    out.beta[i] = all.beta[first + i];
  }
  out.threshold = all.relu ? 0.0f : -std::numeric_limits<float>::infinity();
  return out;
}

}  // namespace

void batch_norm_sample_gradients(const ChannelPlaces& places, int samples, const float* x, const float* dy,
                                 const NormConstants& constants, float* out) {
  const ChannelPlaces& p = places;
  for (std::size_t first = 0; first < p.channels;) {
    // Lanes beyond the last channel hold the layout's padding and are left out of the result.
    const std::size_t within = first % p.block, side_by_side = p.block - within;
    const std::size_t lanes = side_by_side >= 16 ? 16 : side_by_side >= 8 ? 8 : 1;
    const std::size_t count = std::min(lanes, p.channels - first);
    const Constants c = constants_of(constants, first, count);
    const std::size_t begin = first / p.block * p.next_block + within;
    for (std::size_t i = 0; i < std::size_t(samples); ++i) {
      alignas(64) double gammas[kLanes], betas[kLanes];
      const float *xi = x + i * p.sample + begin, *dyi = dy + i * p.sample + begin;
      if (p.position == 1) {
        kernels().row(c, xi, dyi, p.positions, gammas, betas);
      } else {
        kernels().channels(int(lanes), c, xi, dyi, p.positions, p.position, gammas, betas);
      }
      float* sums = out + i * 2 * p.channels + first;
      for (std::size_t l = 0; l < count; ++l) {
        sums[l] = float(gammas[l]);
        sums[p.channels + l] = float(betas[l]);
      }
    }
    first += count;
  }
}

}  // namespace seng::cpu
