// Kronecker-factored curvature of a linear layer or a convolution (K-FAC: Martens, Grosse, ICML 2015, arXiv
// 1503.05671; convolutions: KFC, Grosse, Martens, ICML 2016, arXiv 1602.01407), from the same samples and the
// same empirical Fisher gradients as SENG's.
//
// With the unfolded input A_i (n x kappa; n+1 with a bias, the last row ones) and the output's gradient
// G_i (m x kappa) of sample i,
//     A = 1/N sum_i A_i A_i^T          G = 1/(N kappa) sum_i G_i G_i^T          F ~ G (x) A
// and with A = Q_A S_A Q_A^T, G = Q_G S_G Q_G^T, both (G (x) A + lambda I)^-1 applied to the gradient matrix
// g (m x n, its bias as the last column) and the model's curvature are exact:
//     d = Q_G [ (Q_G^T g Q_A) / (s_G s_A^T + lambda) ] Q_A^T
// Symmetric matrices are kept and sent as their lower triangle, row after row ("packed").
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "actors/engine/block.h"
#include "actors/engine/lanes.h"
#include "actors/optim/gradient_columns.h"
#include "protocol/base/error.h"

namespace seng {

struct KroneckerShape {
  std::size_t m = 0, n = 0;  // order of G and A; n with the bias' row
  std::size_t packed_a() const { return n * (n + 1) / 2; }
  std::size_t packed_g() const { return m * (m + 1) / 2; }
};
KroneckerShape kronecker_shape(const Block& block);  // linear layers and convolutions

struct KroneckerOptions {
  double decay = 0.95;              // of the running means, once they are old enough
  std::uint32_t inverse_every = 1;  // refreshes between two eigendecompositions
  std::uint32_t refresh_every = 1;  // steps between two refreshes: says how many there have been
};

// How a micro-batch's part of the factors travels: as its sums, packed, or as the layer's raw input and
// output gradient, whichever is fewer floats. A sum is "one sample" of that size.
struct KroneckerFragment {
  bool sums = false;
  SampleSize size;  // of one sample, or of the sums
  int count = 0;    // samples, or 1: so many times `size` in a fragment
  std::size_t floats() const { return size.total() * std::size_t(count); }
};
KroneckerFragment kronecker_fragment(const Block& block, int samples);

// sum_i A_i A_i^T (n x n) and sum_i G_i G_i^T (m x m) are added to the lower triangles of a and g, row-major;
// what lies above keeps no meaning. 2048 columns are added in float, those sums in double.
void add_kronecker_sums(const Block& block, const SampleFactors& factors, double* a, double* g, Lanes& lanes);

// The fragment of kronecker_fragment(...).sums: packed A, then packed G. On a lane.
std::vector<float> kronecker_sums(const Block& block, const SampleFactors& factors, int samples);

// The factors of one refresh: what came in `arrived` (micro-batches in order) over `samples` samples, and the
// running means of before, made the new running means,
//     mean <- e mean_before + (1 - e) mean_now,   e = min(1 - 1/k, decay) in the k-th refresh
// (Martens, Grosse, section 5), packed.
struct KroneckerRefresh {
  bool sums = false;                    // `arrived` holds sums; else samples
  std::size_t samples = 0;              // N
  double retained = 0;                  // e
  std::span<const float> old_a, old_g;  // the means of before; empty where there are none
};
void fold_factors(const Block& block, const SampleStore& arrived, const KroneckerRefresh& refresh,
                  std::span<float> a, std::span<float> g, Lanes& lanes);

// e of above; `refresh` is its step, from 1.
double retained_share(const KroneckerOptions& options, std::uint64_t refresh);
// Whether the refresh of that step renews the eigendecompositions.
bool renews_inverse(const KroneckerOptions& options, std::uint64_t refresh);

// Both eigendecompositions. Immutable once formed.
class KroneckerBasis {
 public:
  virtual ~KroneckerBasis() = default;
  // On the CPU's lanes; form_device_basis() of device_kronecker.h on another device. Refused: a factor whose
  // decomposition does not converge. Eigenvalues below zero, which are rounding, are 0.
  static Result<std::shared_ptr<const KroneckerBasis>> form(const Block& block, std::span<const float> a,
                                                            std::span<const float> g, Lanes& lanes);
  // d = (G (x) A + lambda I)^-1 g in the parameters' layout; returns g^T d.
  virtual double precondition(const Block& block, std::span<const float> g, double lambda, std::span<float> d,
                              Lanes& lanes) const = 0;
  // The same of a basis that is a device's, where g and d are its memory: queued.
  virtual void precondition_there(const float* g, double lambda, float* d) const;
  // v^T (G (x) A) v.
  virtual double curvature_along(const Block& block, std::span<const float> v, Lanes& lanes) const = 0;
  virtual std::size_t bytes() const = 0;
};

// What is said where a decomposition does not converge.
inline constexpr const char* kNoConvergence = "the eigendecomposition of a factor does not converge";

}  // namespace seng
