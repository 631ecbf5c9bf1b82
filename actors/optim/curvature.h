// The curvature of one block, as its owner (or backup) keeps it, and the direction it gives.
//
// With N samples' gradients u_i (columns of U, scaled by 1/sqrt(N)) the regularised empirical Fisher matrix is
// F = U U^T + lambda I, and by Sherman-Morrison-Woodbury
//     d = F^-1 g = (g - U b) / lambda,   b = (lambda I_N + U^T U)^-1 U^T g
// (Yang et al., arXiv 2006.05924, section 3). Two exact representations:
//   explicit   the u_i themselves: m*n (+m) floats a sample
//   implicit   A_i (n x kappa, unfolded input) and G_i (m x kappa): (U^T U)_ij = <A_i^T A_j, G_i^T G_j> / N
// The bias is a row of ones below A_i, handled without being stored.
//
// Not thread-safe. Deterministic: work is cut into tasks that do not depend on the number of lanes.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "actors/engine/block.h"
#include "actors/engine/lanes.h"
#include "protocol/base/error.h"
#include "protocol/base/sha256.h"

namespace seng {

enum class Representation { kExplicit, kImplicit, kScale };  // kScale: batch norm's g/(1+lambda), keeps nothing

// The smaller of both in floats per sample; a batch norm is explicit or, if `batch_norm_scale`, kScale.
Representation choose_representation(const Block& block, bool batch_norm_scale);

struct FragmentShape {
  Representation representation = Representation::kExplicit;
  int samples = 0;         // per micro-batch: N / V
  std::size_t floats = 0;  // of one fragment; 0 for kScale
};
FragmentShape fragment_shape(const Block& block, Representation representation, int samples);

// One micro-batch's fragment from its factors; explicit forms u_i, implicit keeps inputs and gradients as they are
// (the owner unfolds). Called on a lane: single-threaded.
std::vector<float> make_fragment(const Block& block, const FragmentShape& shape, const SampleFactors& factors);

struct CurvatureOptions {
  int micro_batches = 1;         // V: fragments per refresh
  int samples_per_micro = 1;     // N / V
  Representation representation = Representation::kExplicit;
};

class Curvature {
 public:
  Curvature(const Block& block, const CurvatureOptions& options);
  ~Curvature();
  Curvature(Curvature&&) noexcept;

  // Opens the refresh of step `step` with damping `lambda`: fragments go to a second store until accept().
  void begin_refresh(std::uint64_t step, double lambda);
  // One micro-batch's fragment; a second one for the same micro-batch is ignored. Error: wrong size.
  Status add_fragment(std::uint32_t micro, std::span<const float> values);
  bool complete() const;  // all V are in

  // Forms the Gram matrix and its Cholesky factor and puts the new curvature in place of the old. Refused (the old
  // one stays): a value that is not finite, or a matrix that is not positive definite.
  Status accept(Lanes& lanes);
  // The backup's form of accept(): keeps the fragments, forms nothing until it is needed.
  void accept_unformed();

  bool ready() const;  // there is a curvature in force
  std::uint64_t step() const;
  double lambda() const;

  // d = F^-1 g; block.count floats each, which may not overlap. Returns g^T d. Before the first accepted refresh
  // d = g / (1 + lambda_fallback).
  double precondition(std::span<const float> g, std::span<float> d, double lambda_fallback, Lanes& lanes);

  // Canonical bytes: what a checkpoint holds and the state's hash is over; equal on owner and backup.
  std::vector<float> values() const;   // all samples' stored values, in micro-batch order
  Status restore(std::uint64_t step, double lambda, std::span<const float> values, Lanes& lanes);
  Digest digest() const;  // over step, lambda and values()
  std::size_t bytes() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace seng
