// One micro-batch's contribution to one block's curvature, as it travels to the block's owner and backup.
#pragma once

#include <vector>

#include "actors/engine/block.h"
#include "actors/optim/representation.h"

namespace seng {

// The fragment of the first shape.samples samples of `factors`:
//   kExplicit  [samples, block.count]: u_i = vec(G_i A_i^T), then with a bias the row sums of G_i; a batch
//   norm's
//              are sum_k G*x-hat and sum_k G per channel
//   kImplicit  [samples, raw input] then [samples, m, kappa]: as the layer gave them; the owner unfolds
//   kScale     empty
// Called on a lane: single-threaded. A sample's values depend on nothing but its own factors.
std::vector<float> make_fragment(const Block& block, const FragmentShape& shape,
                                 const SampleFactors& factors);

}  // namespace seng
