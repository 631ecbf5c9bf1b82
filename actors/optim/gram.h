// Gram matrices of many long rows.
#pragma once

#include <cstddef>

#include "actors/engine/lanes.h"

namespace seng {

// The lower triangle of gram (count x count, row-major) += X X^T, X being `count` rows of `width` floats,
// `ld` apart. Products of 2048 columns are added in float by gemm, those sums in double. What lies above the
// diagonal is changed too and keeps no meaning.
void add_gram(const float* rows, std::size_t ld, std::size_t count, std::size_t width, double* gram,
              Lanes& lanes);

}  // namespace seng
