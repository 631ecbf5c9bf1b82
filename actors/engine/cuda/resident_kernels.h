// The kernels of a step that stays on the device; kernels.h has what all kernels keep to. Here nvcc may not
// make one operation of a product and a sum: the host rounds each.
#pragma once

#include "actors/engine/cuda/kernels.h"
#include "actors/engine/update_coefficients.h"

namespace seng::cuda {

// A run of a block: where it begins in a vector, and in the flat array.
struct ResidentRun {
  std::size_t place, offset;
  std::uint32_t count;
};

// x /= by
void launch_divide(Stream stream, float* x, float by, std::size_t count);
// y = factor * x
void launch_product(Stream stream, const float* x, float factor, float* y, std::size_t count);
// Per run, of at most 4,096: parts[3 r] = g.d, then g.g, d.d, added in float by dot()'s order (linalg.h).
void launch_dot_parts(Stream stream, const float* g, const float* d, const ResidentRun* runs,
                      std::size_t count, float* parts);
// found[r] = 1 where x is not finite somewhere in the run, else 0.
void launch_find_not_finite(Stream stream, const float* x, const ResidentRun* runs, std::size_t count,
                            std::int32_t* found);
void launch_momentum_update(Stream stream, const UpdateCoefficients& coefficients, const float* d,
                            const ResidentRun* runs, std::size_t count, float* momentum, float* weights);
// running = 0.9 running + 0.1 means
void launch_running_statistics(Stream stream, const float* means, const ResidentRun* runs, std::size_t count,
                               float* running);

// out [rows of the list, columns of the other operand], see vector_sketch.h; the list of a side, the
// device's.
struct SketchList {
  const std::uint32_t *begins, *index;
  const float* factor;
  std::size_t rows;
  bool adds;
};
// half [read, right.rows] of rows read[i] of the matrix that g is, [m, columns], the column behind these
// after it.
void launch_sketch_columns(Stream stream, const float* g, std::size_t m, std::size_t columns,
                           const std::uint32_t* read, std::size_t reads, const SketchList& right,
                           float* half);
// out [left.rows, width] of half [*, width].
void launch_sketch_rows(Stream stream, const float* half, std::size_t width, const SketchList& left,
                        float* out);

}  // namespace seng::cuda
