// The contract's part (backend.h) for sketches of a gradient that is the device's: what actors/optim/sketch.h
// does on the host, with the same bits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace seng {

// One side's map of `width` coordinates to rows(): row r is the sum, in the order of the list, of
// factor[i] * x[index[i]] over i from begins[r] up to begins[r + 1].
struct SketchSide {
  std::size_t width = 0;
  std::vector<std::uint32_t> begins, index;
  std::vector<float> factor;
  // Sums begin with a zero; else a row is one coordinate, and that zero is left out.
  bool adds = false;
  std::size_t rows() const { return begins.size() - 1; }
};

// Of a block's vector as the matrix G [left.width, right.width] that it is: left G right^T. Its rows lie one
// behind another, of `columns` each; where right is wider by one, the last column is what follows them.
struct SketchPlan {
  SketchSide left, right;
  std::size_t columns = 0;
};

class VectorSketch {
 public:
  virtual ~VectorSketch() = default;
  // g: memory of the device. [left.rows, right.rows], until the next call. Queued.
  virtual const float* apply(const float* g) = 0;
  virtual std::size_t bytes() const = 0;  // of the device, held
};

}  // namespace seng
