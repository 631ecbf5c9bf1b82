// The gradients and batch norm statistics of a micro-batch, of all blocks side by side in the backend's
// memory, and their sums over several micro-batches, added there.
//
//   [gradient of block 0 | of block 1 ... | statistics of block 0 | of block 1 ...]    one vector
//
// The backward pass writes the vector in hand, which always lies at the same place. Below it is a stack of
// sums; which of them are added when is the caller's to say (SumOrder, network.h), and its last sum is the
// whole.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "actors/engine/backend.h"
#include "actors/engine/block.h"
#include "actors/nn/network.h"

namespace seng {

// Used by one thread. `backend` must outlive it.
class GradientSums {
 public:
  // held: sums beside the vector in hand, at least 1.
  GradientSums(Backend& backend, const std::vector<Block>& blocks, int held);

  void make_room(int held);  // for more of them

  // Of the micro-batch in hand; the backend's memory.
  float* gradient(std::size_t block) { return in_hand_ + places_[block].gradient; }
  float* statistics(std::size_t block) { return in_hand_ + places_[block].statistics; }

  // What follows is a sum of order.size() micro-batches; what was begun and is not complete is dropped.
  void begin(SumOrder order);
  // The micro-batch in hand is complete; its gradient, not its statistics, counts `factor` times. True: the
  // sum is complete. It stays until the next micro-batch is added; without begin() that is a sum of its own.
  bool add(float factor);
  float* sum() const { return sum_; }
  std::size_t floats() const { return floats_; }        // of a vector
  std::size_t gradients() const { return gradients_; }  // of its first part
  // Where a block's begin in it.
  std::size_t gradient_at(std::size_t block) const { return places_[block].gradient; }
  std::size_t statistics_at(std::size_t block) const { return places_[block].statistics; }

 private:
  struct Place {
    std::size_t gradient = 0, statistics = 0;  // floats from the vector's begin
  };

  std::vector<Place> places_;         // per block
  std::size_t gradients_ = 0;         // floats of all gradients, which come first
  std::size_t floats_ = 0;            // of a vector
  std::unique_ptr<Sums> operations_;  // of whole vectors
  Backend& backend_;
  float* in_hand_ = nullptr;
  std::vector<float*> held_;
  SumOrder order_;
  std::size_t added_ = 0, height_ = 0;  // micro-batches, and sums on the stack
  float* sum_ = nullptr;                // the complete one
};

}  // namespace seng
