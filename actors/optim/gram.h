// Gram matrices of many long rows.
#pragma once

#include <cstddef>

#include "actors/engine/lanes.h"
#include "actors/optim/stored_values.h"

namespace seng {

// The lower triangle of gram (count x count, row-major) += X X^T, X being `count` rows of `width` floats,
// `ld` apart. Products of 2048 columns are added in float by gemm, those sums in double. What lies above the
// diagonal is changed too and keeps no meaning.
void add_gram(const float* rows, std::size_t ld, std::size_t count, std::size_t width, double* gram,
              Lanes& lanes);
// The same of stored rows, from the first.
void add_gram(const StoredValues& rows, std::size_t ld, std::size_t count, std::size_t width, double* gram,
              Lanes& lanes);

// A tile of the Gram matrix of samples that are `rank` pairs of rows each: entry (i0 + i, j0 + j), where it
// lies on or below the diagonal, = the sum over the rank x rank block (i, j) of a * b, elementwise. a and b
// are [ni * rank, nj * rank], the inner products of the pairs' first and second rows.
struct GramTile {
  std::size_t i0 = 0, ni = 0, j0 = 0, nj = 0;
};
void put_block_products(const GramTile& tile, std::size_t rank, const float* a, const float* b, double* gram,
                        std::size_t count);

}  // namespace seng
