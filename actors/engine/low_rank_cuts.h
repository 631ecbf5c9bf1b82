// Cutting a convolution's factors to rank p where a device computes them, sample by sample. The mathematics
// is actors/optim/low_rank.h's, by subspace iteration.
#pragma once

#include <algorithm>
#include <cstddef>

#include "actors/engine/block.h"
#include "actors/engine/random.h"

namespace seng {

// How the iteration goes, wherever it does.
struct SubspaceIteration {
  static constexpr std::size_t kMoreVectors = 4;  // than p, as far as there are so many
  static constexpr int kPasses = 2;
  // A row that keeps less than this of its length once the rows before it are taken away is rounding.
  static constexpr double kNothing = 1e-5;
};

// What is wanted of a block's factors.
struct FactorCut {
  int rank = 0;         // p; 0: they stay whole
  bool halves = false;  // what is cut is handed over as bf16
  bool operator==(const FactorCut&) const = default;
};

struct LowRankPlan {
  ConvolutionGeometry convolution;
  std::size_t samples = 0, m = 0, n = 0, positions = 0, rank = 0;  // m x n the weight, without the bias
  bool bias = false;
  bool halves = false;
  // Room for what is made of samples at a time, about. It is part of the bits.
  std::size_t run_floats = std::size_t{1} << 23;

  // For the first `samples` samples of a convolution's block.
  static LowRankPlan of(const Block& block, const FactorCut& cut, std::size_t samples) {
    LowRankPlan plan{.convolution = block.conv, .samples = samples};
    plan.m = static_cast<std::size_t>(block.m);
    plan.n = static_cast<std::size_t>(block.n);
    plan.positions = static_cast<std::size_t>(block.positions);
    plan.rank = static_cast<std::size_t>(cut.rank);
    plan.bias = block.bias;
    plan.halves = cut.halves;
    return plan;
  }

  std::size_t width() const { return n + (bias ? 1 : 0); }
  std::size_t vectors() const {
    return std::min(rank + SubspaceIteration::kMoreVectors, std::min(m, positions));
  }
  std::size_t input_floats() const { return std::size_t(convolution.channels_in) * plane(); }
  std::size_t plane() const { return std::size_t(convolution.height_in) * std::size_t(convolution.width_in); }
  std::size_t kernel() const { return std::size_t(convolution.kernel_h) * std::size_t(convolution.kernel_w); }
  // Whichever is less is unfolded: the p rows of the basis, or the input.
  bool unfolds_basis() const { return width() * positions > rank * kernel() * plane(); }
  std::size_t unfolded_floats() const {
    return unfolds_basis() ? rank * kernel() * plane() : width() * positions;
  }

  // What is handed over: [samples, rank, width()] and [samples, rank, m] floats, in words of 4 bytes: a float
  // each or, with `halves`, two bf16 values, the first in the lower half, the last half of an odd count 0.
  std::size_t floats() const { return samples * rank * (width() + m); }
  std::size_t words() const { return halves ? (floats() + 1) / 2 : floats(); }

  // What cutting takes meanwhile: of a sample, of a run of samples, and with what is handed over.
  std::size_t sample_floats() const {
    const std::size_t rows = vectors() * (m + positions + std::max(m, positions)) + rank * positions;
    const std::size_t doubles = vectors() * (2 * vectors() + rank);
    const std::size_t product = unfolds_basis() ? rank * n : 0;
    return rows + 2 * doubles + unfolded_floats() + product;
  }
  std::size_t run_samples() const {
    return std::clamp<std::size_t>(run_floats / sample_floats(), 1, samples);
  }
  std::size_t work_floats() const {
    return run_samples() * sample_floats() + floats() + (halves ? words() : 0);
  }
};

// A sample's values depend on nothing but its own factors and its random numbers: one whose gradient is not
// finite gives NaN, and the others what they give beside any. A direction without energy gives zeros. U_i =
// (sum over k of g_k a_k^T) is the device's to the last bits; a pair's common sign is arbitrary.
class LowRankCuts {
 public:
  virtual ~LowRankCuts() = default;
  // inputs [samples, C_in, H_in, W_in] and gradients [samples, m, positions]: floats, plain, of the backend's
  // memory. What is made of the gradients is multiplied by `factor`. Gives words() words of the backend's
  // memory, valid until it runs something else. Queues work and waits for nothing; allocates nothing after
  // the first call.
  virtual const float* cut(const float* inputs, const float* gradients, float factor,
                           const SubspaceKey& key) = 0;
};

}  // namespace seng
