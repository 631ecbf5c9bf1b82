// bf16_product.h's product in two ways: for processors with AVX512-BF16, and for the others. Single-threaded.
#pragma once

#include <cstddef>

#include "actors/engine/bf16.h"

namespace seng::cpu {

struct PairsShape {
  std::size_t m = 0, n = 0, k = 0;
  const Bf16 *a = nullptr, *b = nullptr;  // a: in pairs of rows
  std::size_t ldb = 0;
  float* c = nullptr;
  std::size_t ldc = 0;
};

bool has_avx512_bf16();

// Only where has_avx512_bf16(). An entry's products are added two at a time, in chunks of 512 whose sums are
// added in order.
void gemm_pairs(const PairsShape& shape);

// Everywhere: both operands are widened, 256 rows at a time (bf16_product.cpp).
void gemm_pairs_widened(const PairsShape& shape);

}  // namespace seng::cpu
