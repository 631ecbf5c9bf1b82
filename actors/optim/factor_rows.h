// The samples of a factored form as pairs of rows: u_i = sum over k of vec(g_k a_k^T), `rank` pairs a sample
// (1 of a linear layer, p of cut factors, kappa of a convolution's raw ones).
#pragma once

#include <cstddef>

#include "actors/engine/block.h"
#include "actors/optim/gradient_columns.h"

namespace seng {

class FactorRows {
 public:
  // kImplicit or kLowRank. `store` is borrowed.
  FactorRows(const Block& block, const CurvatureForm& form, const SampleStore& store);

  std::size_t rank() const { return rank_; }
  std::size_t m() const { return m_; }
  std::size_t width() const { return n_ + (bias_ ? 1 : 0); }  // of an a_k: n, and 1 where there is a bias
  // a [rank, width], g [rank, m] of one sample.
  void read(std::size_t sample, float* a, float* g) const;

 private:
  const ConvolutionGeometry conv_;
  const SampleStore& store_;
  bool raw_convolution_, cut_, bias_;
  std::size_t m_, n_, rank_;
};

}  // namespace seng
