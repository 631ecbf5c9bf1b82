// What is kept of one sample's gradient of one block, and how large it is.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "actors/engine/bf16.h"
#include "actors/engine/block.h"

namespace seng {

enum class Representation {
  kExplicit,   // u_i itself: block.count floats, in the parameters' layout
  kImplicit,   // its factors: the layer's raw input and the gradient of its output; convolutions and linear
               // layers
  kLowRank,    // its factors cut to rank p: Q_i^T A_i^T and Q_i^T G_i^T (low_rank.h); convolutions
  kScale,      // batch norm's g/(1+lambda): keeps nothing
  kKronecker,  // K-FAC's factors A and G, over all samples (kronecker.h); convolutions and linear layers
};
std::string_view representation_name(Representation representation);  // "explicit", "low_rank" ...

// How the leading right singular subspace of G_i is found (low_rank.h).
enum class RankMethod { kSubspace, kSvd };

// How one block's curvature is kept: the same on every actor of the job.
struct CurvatureForm {
  CurvatureForm(Representation kept = Representation::kExplicit, int p = 0,
                RankMethod by = RankMethod::kSubspace)
      : representation(kept), rank(p), rank_method(by) {}
  Representation representation;
  int rank;  // p of kLowRank; 0 for the others
  RankMethod rank_method;
  // Of kKronecker: 2 where those of the last inverse are kept beside the running means, since it is renewed
  // less often.
  int factor_sets = 1;
  bool operator==(const CurvatureForm&) const = default;
};

// The most that a sample's rank can be: min(m, kappa).
int full_rank(const Block& block);

// Floats of one sample as they are stored and travel: `first` u_i, or the raw input ([C_in, H, W] or [n]), or
// [p, n] (with a bias [p, n+1]); `second` nothing, or the output's gradient [m, kappa], or [p, m]. kKronecker
// keeps no samples: its fragments are as kronecker_fragment() says.
struct SampleSize {
  std::size_t first = 0, second = 0;
  std::size_t total() const { return first + second; }
};
SampleSize sample_size(const Block& block, const CurvatureForm& form);

// One fragment: `floats` values, which travel as `words` of 4 bytes: a float each, or two bf16 values, the
// first in the lower half, the last half of an odd count 0.
struct FragmentShape {
  CurvatureForm form;
  int samples = 0;         // per micro-batch: N / V
  std::size_t floats = 0;  // 0 for kScale
  Precision wire = Precision::kF32;
  std::size_t words = 0;
};
FragmentShape fragment_shape(const Block& block, const CurvatureForm& form, int samples,
                             Precision wire = Precision::kF32);

// Values of a block's curvature in force, `samples` in all, as checkpoints and peers have them: the samples,
// or the factors, packed.
std::size_t curvature_values(const Block& block, const CurvatureForm& form, std::size_t samples);
// What a curvature over `samples` samples in all holds once it is in force: the samples and the N x N factor,
// or the factors and their eigenvectors. While a refresh is open the samples are there twice.
std::size_t curvature_bytes(const Block& block, const CurvatureForm& form, std::size_t samples,
                            Precision stored = Precision::kF32);

}  // namespace seng
