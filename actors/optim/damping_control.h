// Adaptive damping: Levenberg and Marquardt's rule on the reduction ratio, as Martens and Grosse apply it to
// K-FAC (ICML 2015, arXiv 1503.05671, section 6.5), computed with the same bits on any number of actors.
//
// Every `every` steps one step is tried. With h the mean loss of that step's own global batch (training's:
// ghost batch norm, dropout, smoothing) and delta = w' - w what the step did to the weights,
//     rho = (h(w') - h(w)) / M(delta),     M(delta) = g^T delta + 1/2 delta^T F delta
// and the damping of the next refresh is divided by `factor` where rho > 3/4, multiplied by it where rho <
// 1/4, and held in [min, max]. Until a refresh has taken that, no step is tried: the curvature in force has
// the damping before, and a second trial would change it twice for one reason. A refresh that every block
// refuses multiplies it.
//   h(w)    the step computes anyway
//   h(w')   is one forward pass over the same micro-batches in the step that follows; its sum travels in the
//           summary, along the tree. On another batch the loss differs by far more than one step changes it.
//           Costs a third of a step every `every` steps
//   M       F is the curvature in force, per block, without its damping (as theirs). With momentum m,
//           decay wd and the trust region's s, delta = -lr (c s d + v):
//               heavy ball  c = 1,       v = mu m + wd w
//               Nesterov    c = 1 + mu,  v = mu^2 m + (1 + mu) wd w
//           and F d = g - lambda d, so that v^T F v is all that costs: one product U^T v by the block's owner
//           (StepModel, four numbers beside the direction). Weight decay's own term is in neither h nor M.
// Theirs differs in what cannot be had here for nothing: they use the exact F of a mini-batch in M, and the
// damping takes effect at once; here it is one lambda a curvature.
#pragma once

#include <span>
#include <vector>

#include "protocol/spec/job_spec.h"

namespace seng {

// Part of the training state: every member holds the same.
struct DampingState {
  double lambda = 0;     // of the next refresh
  double predicted = 0;  // M of the step before, below 0; 0: none is tried
  double loss = 0;       // h(w) of it
  bool operator==(const DampingState&) const = default;
};

// One block's terms of M, or their sums over the blocks in block order.
struct StepModel {
  double slope = 0;       // g^T v
  double vv = 0, vd = 0;  // v^T F v, v^T F d
  double dd = 0;          // d^T F d
};

// v of above, of one block.
std::vector<float> unpreconditioned_part(const OptimizerSpec& optimizer, std::span<const float> momentum,
                                         std::span<const float> weights);

// M(delta). `inner_product`: g^T d of all blocks; `scale`: s.
double predicted_change(const OptimizerSpec& optimizer, double lr, double scale, double inner_product,
                        const StepModel& model);

// The damping behind a step with that ratio; a ratio that is no number raises it.
double adapted_damping(const AdaptiveDampingSpec& adaptive, double lambda, double ratio);

}  // namespace seng
