// Random maps Omega (q x width) with E[Omega^T Omega] = I: they stand for inner products of long vectors.
//   rows         q of the width coordinates, chosen without replacement, times sqrt(width/q)
//   countsketch  every coordinate is added to one of q sums with a random sign (Charikar, Chen, Farach-Colton
//   2002)
// The choice is keyed by (seed, refresh, block, side): RandomPurpose::kSketch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "actors/engine/random.h"
#include "actors/engine/vector_sketch.h"

namespace seng {

enum class SketchKind { kNone, kRows, kCountSketch };

class Sketch {
 public:
  // q = min(rows, width); with q = width it is the identity.
  Sketch(SketchKind kind, std::size_t rows, std::size_t width, Random random);

  std::size_t rows() const { return rows_; }
  std::size_t width() const { return width_; }
  // Whether apply() reads this coordinate of x: all of a count sketch, q of sampled rows.
  bool reads(std::size_t coordinate) const;
  // out (rows) = Omega x, whose entries lie `stride` apart.
  void apply(const float* x, std::size_t stride, float* out) const;
  // The same, for a device that does it.
  SketchSide side() const;

 private:
  bool samples_rows_;
  std::size_t rows_, width_;
  float scale_ = 1;
  // Rows: the coordinates, ascending. Count sketch: of each coordinate the sum that it goes to.
  std::vector<std::uint32_t> index_;
  std::vector<float> sign_;
};

}  // namespace seng
