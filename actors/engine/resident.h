// The contract's part (backend.h) for training state that stays where gradients are made: an actor with
// one replica takes its whole step there, alone or in a group whose vectors travel between devices, and
// nothing of it but a few numbers comes to the host.
//
// Every value is rounded as the host's code rounds it (actors/block_direction.cpp, actors/step_update.cpp),
// operation by operation, so that the bits are the same on either side, and a group of several can go on with
// them.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "actors/engine/update_coefficients.h"

namespace seng {

// A block's runs in a replica's vector [gradients | statistics] (actors/nn/gradient_sums.h), and in the
// canonical flat arrays (block.h).
struct ResidentBlock {
  std::size_t count = 0, statistics_count = 0;
  std::size_t gradient = 0, statistics = 0;       // in the vector
  std::size_t offset = 0, statistics_offset = 0;  // in the flat arrays
};
struct ResidentPlan {
  std::vector<ResidentBlock> blocks;
  std::size_t gradients = 0, floats = 0;  // of a vector: its first part, and whole
};

// Sums of products over at most kDotFloats floats, as dot() of linalg.h forms them: who adds these in order,
// in double, has its bits.
struct DotParts {
  double gd = 0, gg = 0, dd = 0;
};
inline constexpr std::size_t kDotFloats = 4096;

// What is done with vectors of one plan, whole. As ResidentState.
class ResidentVectors {
 public:
  virtual ~ResidentVectors() = default;

  // Per block and run of kDotFloats, blocks in order; host. `gradients` and `directions` are vectors. Waits.
  virtual std::span<const DotParts> dots(const float* gradients, const float* directions) = 0;
  // Whether all blocks' directions, and the statistics of `means`, are finite. Waits.
  virtual bool finite(const float* directions, const float* means) = 0;
  // The state's momentum and parameters by the directions; running statistics = 0.9 of theirs + 0.1 of those
  // of `means`, which may be the same vector.
  virtual void update(const UpdateCoefficients& coefficients, const float* directions,
                      const float* means) = 0;
};

// Memory of the backend unless said otherwise. Calls are queued, but for those that say they wait. One thread
// at a time, the backend's.
class ResidentState {
 public:
  virtual ~ResidentState() = default;

  // The flat arrays of the host, there and back; get() waits.
  virtual void put(std::span<const float> parameters, std::span<const float> momentum,
                   std::span<const float> statistics) = 0;
  virtual void get(std::span<float> parameters, std::span<float> momentum, std::span<float> statistics) = 0;
  virtual const float* parameters() const = 0;
  virtual const float* statistics() const = 0;

  virtual const ResidentPlan& plan() const = 0;
  // Of vectors laid out as `plan` says, of the same blocks; must not outlive this.
  virtual std::unique_ptr<ResidentVectors> plan_vectors(const ResidentPlan& plan) = 0;

  // What follows is of vectors of plan().
  //
  // Room for one more, zeroed.
  virtual float* make_vector() = 0;
  // A sum becomes means, in its place: gradients are divided by `batch`, statistics by `micros`.
  virtual void divide(float* sum, float batch, float micros) = 0;
  // Room for all blocks' directions, each where its gradient is in the vector.
  virtual float* directions() = 0;
  // d = g * factor, of one block.
  virtual void scale(const float* g, float factor, float* d, std::size_t count) = 0;
  virtual void copy(const float* from, float* to, std::size_t count) = 0;
  // On the host, until anything else is asked for there. Waits.
  virtual const float* view(const float* memory, std::size_t count) = 0;
};

}  // namespace seng
