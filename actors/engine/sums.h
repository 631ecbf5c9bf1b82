// The contract's part (backend.h) that adds up the gradients of several micro-batches.
#pragma once

#include <cstddef>

namespace seng {

// Of vectors of a planned length, in the backend's memory. Each value of a sum is one addition in float, so
// its bits are those that the host would come to.
class Sums {
 public:
  virtual ~Sums() = default;
  virtual void scale(float* x, float factor, std::size_t count) = 0;  // of x, its first `count`
  virtual void copy(const float* x, float* y) = 0;
  virtual void add(const float* left, const float* right, float* sum) = 0;  // sum may be either
};

}  // namespace seng
