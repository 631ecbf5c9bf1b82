// K-FAC's factors of one block, multiplied, decomposed and kept where a backend computes. The mathematics,
// and the packed form of a symmetric matrix, are actors/optim/kronecker.h's.
#pragma once

#include <cstddef>
#include <optional>

#include "actors/engine/block.h"
#include "actors/engine/memory.h"

namespace seng {

struct KroneckerPlan {
  std::size_t m = 0, n = 0;   // orders of G and A; n with the bias' row of ones
  std::size_t positions = 1;  // kappa
  bool bias = false;
  std::optional<ConvolutionGeometry> convolution;  // none: a linear layer

  // (Sample, position) columns of a product that are added in float; their sums are added in double.
  static constexpr std::size_t kFloatColumns = 2048;

  std::size_t packed_a() const { return n * (n + 1) / 2; }
  std::size_t packed_g() const { return m * (m + 1) / 2; }
  std::size_t weights() const { return n - (bias ? 1 : 0); }  // columns of the weight
  std::size_t parameters() const { return m * n; }
  // Floats of a sample's raw input and output gradient.
  std::size_t input_floats() const {
    if (!convolution) return weights();
    return std::size_t(convolution->channels_in) * std::size_t(convolution->height_in) *
           std::size_t(convolution->width_in);
  }
  std::size_t output_floats() const { return m * positions; }
  // Samples whose columns are multiplied at a time.
  std::size_t group() const { return positions < kFloatColumns ? kFloatColumns / positions : 1; }
};

// What came for a refresh: `count` micro-batches' sums, packed A of each one behind another in `first` and
// packed G in `second`; or the raw inputs and output gradients of all samples.
struct KroneckerArrivals {
  bool sums = false;
  std::size_t count = 0;    // of sums
  std::size_t samples = 0;  // N
  const float *first = nullptr, *second = nullptr;
};

// The running means of before, packed, or null where there are none, and what is kept of them.
struct KroneckerMeans {
  double retained = 0;
  const float *a = nullptr, *g = nullptr;
};

// All pointers are the host's; each call returns when its result is there. Backend's rules hold: one thread
// at a time, equal bits. Holds nothing of the device between calls but scratch space that all share.
class KroneckerSums {
 public:
  virtual ~KroneckerSums() = default;
  // a, g (packed) = sum_i A_i A_i^T and sum_i G_i G_i^T.
  virtual void sum(std::size_t samples, const float* inputs, const float* gradients, float* a, float* g) = 0;
  // a, g (packed) = retained * before + (1 - retained) * the means of what arrived; without means of before
  // those of what arrived. Sums and means are computed in double.
  virtual void fold(const KroneckerArrivals& arrived, const KroneckerMeans& before, float* a, float* g) = 0;
};

// Both eigendecompositions, in float, kept. Pointers and calls as above, or a direction's are `where` they
// are said to be, and then nobody waits; g, d, v in the parameters' layout.
class KroneckerInverse {
 public:
  virtual ~KroneckerInverse() = default;
  // Of packed A and G, which are finite. Eigenvalues below zero count as 0. False: one does not converge.
  virtual bool decompose(const float* a, const float* g) = 0;
  // d = (G (x) A + lambda I)^-1 g
  virtual void precondition(const float* g, double lambda, float* d, Memory where = Memory::kHost) = 0;
  virtual double curvature_along(const float* v) = 0;  // v^T (G (x) A) v
  virtual std::size_t bytes() const = 0;               // of the device, held
};

}  // namespace seng
