#include <bit>
#include <cstddef>
#include <cstdint>

#include "actors/engine/bf16.h"
#include "actors/engine/linalg.h"

namespace seng {
namespace {

// Elements whose products are added in float before they go to double: error about eps * sqrt(64), not
// sqrt(count).
constexpr std::size_t kDotBlock = 4096;

struct VectorKernels {
  double (*dot)(const float*, const float*, std::size_t);
  void (*row_dots)(const float*, std::size_t, std::size_t, std::size_t, const float*, double*);
  void (*row_dots_bf16)(const Bf16*, std::size_t, std::size_t, std::size_t, const float*, double*);
  void (*add_weighted_rows)(const float*, std::size_t, std::size_t, std::size_t, const float*, float*);
  void (*add_weighted_rows_bf16)(const Bf16*, std::size_t, std::size_t, std::size_t, const float*, float*);
  void (*widen)(const Bf16*, float*, std::size_t);
  void (*narrow)(const float*, Bf16*, std::size_t);
  bool (*all_finite)(const float*, std::size_t);
  bool (*all_finite_bf16)(const Bf16*, std::size_t);
  void (*cholesky_solve)(const double*, std::size_t, double*);
};

#define SENG_KERNELS_FILE "actors/engine/cpu/linalg_vector_kernels.inc"
#include "actors/engine/cpu/per_instruction_set.inc"

}  // namespace

double dot(const float* a, const float* b, std::size_t count) {
  return kernels().dot(a, b, count);
}

void row_dots(const float* matrix, std::size_t ld, std::size_t rows, std::size_t width, const float* x,
              double* y) {
  kernels().row_dots(matrix, ld, rows, width, x, y);
}

void add_weighted_rows(const float* matrix, std::size_t ld, std::size_t rows, std::size_t width,
                       const float* b, float* y) {
  kernels().add_weighted_rows(matrix, ld, rows, width, b, y);
}

bool all_finite(const float* values, std::size_t count) {
  return kernels().all_finite(values, count);
}

void widen(const Bf16* from, float* to, std::size_t count) {
  kernels().widen(from, to, count);
}

void narrow(const float* from, Bf16* to, std::size_t count) {
  kernels().narrow(from, to, count);
}

double dot(const Bf16* a, const float* b, std::size_t count) {
  double sum = 0;
  kernels().row_dots_bf16(a, count, 1, count, b, &sum);
  return sum;
}

void row_dots(const Bf16* matrix, std::size_t ld, std::size_t rows, std::size_t width, const float* x,
              double* y) {
  kernels().row_dots_bf16(matrix, ld, rows, width, x, y);
}

void add_weighted_rows(const Bf16* matrix, std::size_t ld, std::size_t rows, std::size_t width,
                       const float* b, float* y) {
  kernels().add_weighted_rows_bf16(matrix, ld, rows, width, b, y);
}

bool all_finite(const Bf16* values, std::size_t count) {
  return kernels().all_finite_bf16(values, count);
}

void cholesky_solve(const double* l, std::size_t n, double* x) {
  kernels().cholesky_solve(l, n, x);
}

}  // namespace seng
