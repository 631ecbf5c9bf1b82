// Each sample's own gradient of a batch norm's parameters, read where the tensors lie: every value once, and
// nothing is written but the sums.
#pragma once

#include <cstddef>

namespace seng::cpu {

// Where the values of [n, C, H, W] lie: channels in blocks of `block` that lie side by side, the last one
// padded; all positions of a block `position` apart. Distances in floats.
//   plain    block 1, position 1, next_block H*W       nChw16c  block 16, position 16, next_block 16*H*W
//   nhwc     block C, position C
struct ChannelPlaces {
  std::size_t channels = 0, positions = 0;
  std::size_t block = 1;
  std::size_t sample = 0, next_block = 0, position = 1;
};

struct NormConstants {
  const float *mean, *variance, *gamma, *beta;  // [C] each
  float epsilon;
  bool relu;  // the gradient passes only where gamma * x-hat + beta > 0
};

// x, dy: as `places` says, of which the first `samples` are read. out: [samples, 2, C], dgamma and then
// dbeta: sum_k dy * x-hat and sum_k dy over the positions k. Short runs of positions are added in float,
// these in double; the order depends on the places alone.
void batch_norm_sample_gradients(const ChannelPlaces& places, int samples, const float* x, const float* dy,
                                 const NormConstants& constants, float* out);

}  // namespace seng::cpu
