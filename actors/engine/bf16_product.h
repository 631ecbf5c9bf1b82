// Products of bfloat16 operands that are not widened first: exact products, added in float. Where the
// processor has AVX512-BF16 it takes two at a time, in half of the time that floats take; elsewhere the
// operands are widened and multiplied by gemm(). As gemm()'s, the bits depend on the instruction set, and an
// entry's on k and its own operands alone. Subnormal numbers may count as 0. Single-threaded.
#pragma once

#include <cstddef>

#include "actors/engine/bf16.h"

namespace seng {

// A matrix of k rows of m values lies in pairs of rows: value i of the rows 2p and 2p + 1 side by side, zeros
// for a row that is missing. That many values:
constexpr std::size_t paired_size(std::size_t k, std::size_t m) {
  return (k + 1) / 2 * 2 * m;
}
// One pair of m values each, times its weight, then rounded as narrow() does. `odd` null: a row that is
// missing.
void put_pair(const float* even, float even_weight, const float* odd, float odd_weight, std::size_t m,
              Bf16* pair);

// C (m x n, ldc) = A^T B: A (k x m) in pairs, B (k x n, ldb). C is only written; k > 0.
void multiply_pairs(std::size_t m, std::size_t n, std::size_t k, const Bf16* a, const Bf16* b,
                    std::size_t ldb, float* c, std::size_t ldc);

}  // namespace seng
