#include "actors/engine/bf16_product.h"

#include <algorithm>

#include "actors/engine/cpu/gemm_avx512_bf16.h"
#include "actors/engine/linalg.h"

namespace seng {
namespace {

constexpr std::size_t kWidenedRows = 256;  // at a time; even

// Rows of a pair to rows of floats.
void widen_pairs(const Bf16* a, std::size_t rows, std::size_t m, float* out) {
  for (std::size_t r = 0; r < rows; ++r) {
    const Bf16* pair = a + r / 2 * 2 * m + r % 2;
    for (std::size_t i = 0; i < m; ++i) out[r * m + i] = widen(pair[2 * i]);
  }
}

}  // namespace

void put_pair(const float* even, float even_weight, const float* odd, float odd_weight, std::size_t m,
              Bf16* pair) {
  for (std::size_t i = 0; i < m; ++i) {
    pair[2 * i] = narrow(even_weight * even[i]);
    pair[2 * i + 1] = odd == nullptr ? std::uint16_t{0} : narrow(odd_weight * odd[i]);
  }
}

void multiply_pairs(std::size_t m, std::size_t n, std::size_t k, const Bf16* a, const Bf16* b,
                    std::size_t ldb, float* c, std::size_t ldc) {
  const cpu::PairsShape shape{m, n, k, a, b, ldb, c, ldc};
  return cpu::has_avx512_bf16() ? cpu::gemm_pairs(shape) : cpu::gemm_pairs_widened(shape);
}

void cpu::gemm_pairs_widened(const PairsShape& s) {
  static thread_local AlignedBuffer<float> left_memory, right_memory;
  float* left = left_memory.at_least(kWidenedRows * s.m);
  float* right = right_memory.at_least(kWidenedRows * s.n);
  for (std::size_t r = 0; r < s.k; r += kWidenedRows) {
    const std::size_t rows = std::min(kWidenedRows, s.k - r);
    widen_pairs(s.a + r * s.m, rows, s.m, left);
    for (std::size_t row = 0; row < rows; ++row) widen(s.b + (r + row) * s.ldb, right + row * s.n, s.n);
    gemm(s.m, s.n, rows, 1, {left, s.m, true}, {right, s.n, false}, r == 0 ? 0 : 1, s.c, s.ldc);
  }
}

}  // namespace seng
