// Matrix products for processors with AVX-512, for the shapes of the optimizer: long rows times long rows
// without repacking, and short rows times a wide matrix. oneDNN repacks both operands at each call, which
// costs it a quarter to a half of such products.
//
// Single-threaded. An entry's bits depend on k and on its own operands alone: products are added in chunks of
// at most 1024 (rows by rows: 16 partial sums, then a fixed tree) or 256 (rows by matrix: one after another),
// whatever m and n.
#pragma once

#include <cstddef>

namespace seng::cpu {

struct GemmShape {
  std::size_t m = 0, n = 0, k = 0;
  float alpha = 1, beta = 0;  // beta 0: C is only written
  const float *a = nullptr, *b = nullptr;
  std::size_t lda = 0, ldb = 0;
  float* c = nullptr;
  std::size_t ldc = 0;
};

bool has_avx512();

// Only where has_avx512(). Row-major operands.
void gemm_rows_by_rows(const GemmShape& shape);  // C = alpha A B^T + beta C; A (m x k), B (n x k)
void gemm_by_matrix(const GemmShape& shape, bool transposed);  // C = alpha op(A) B + beta C; A (m x k), or
                                                               // (k x m) if transposed; B (k x n)

}  // namespace seng::cpu
