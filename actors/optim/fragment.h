// One micro-batch's contribution to one block's curvature, as it travels to the block's owner and backup.
#pragma once

#include <vector>

#include "actors/engine/block.h"
#include "actors/engine/random.h"
#include "actors/optim/representation.h"

namespace seng {

struct SampleDevice;

// What the random choices of a fragment are keyed by; its samples are `first_sample` and those behind it.
using FragmentKey = SubspaceKey;

// The fragment of the first shape.samples samples of `factors`:
//   kExplicit  [samples, block.count]: u_i = vec(G_i A_i^T), then with a bias the row sums of G_i; a batch
//   norm's
//              are sum_k G*x-hat and sum_k G per channel
//   kImplicit  [samples, raw input] then [samples, m, kappa]: as the layer gave them; the owner unfolds
//   kLowRank   [samples, p, n (+1)]: Q_i^T A_i^T with the row of ones as the last column where there is a
//   bias; then
//              [samples, p, m]: Q_i^T G_i^T
//   kKronecker sum_i A_i A_i^T, sum_i G_i G_i^T, packed, or as kImplicit: kronecker_fragment()
//   kScale     empty
// Of shape.words floats: with wire kBf16 each is the bits of two rounded values.
// Called on a lane: single-threaded. A sample's values depend on nothing but its own factors. K-FAC's sums
// are the device's where there is one.
std::vector<float> make_fragment(const Block& block, const FragmentShape& shape, const SampleFactors& factors,
                                 const FragmentKey& key = {}, SampleDevice* device = nullptr);

}  // namespace seng
