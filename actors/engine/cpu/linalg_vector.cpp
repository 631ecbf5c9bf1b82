#include <algorithm>
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

// A run's rows of so many columns fit a first-level cache, and there are enough sums in registers to hide an
// addition's latency.
constexpr std::size_t kPanelColumns = SparseMatrix::kPanelColumns;

// What SparseMatrix keeps of one run of its columns.
struct SparseRun {
  std::size_t rows;
  const std::uint32_t *begins, *columns;
  const float* values;
};

// Rows of B that are needed next.
struct SparseAhead {
  const float* b = nullptr;
  std::size_t ldb = 0, rows = 0;
};

struct VectorKernels {
  double (*dot)(const float*, const float*, std::size_t);
  void (*row_dots)(const float*, std::size_t, std::size_t, std::size_t, const float*, double*);
  void (*row_dots_bf16)(const Bf16*, std::size_t, std::size_t, std::size_t, const float*, double*);
  void (*add_weighted_rows)(const float*, std::size_t, std::size_t, std::size_t, const float*, float*);
  void (*add_weighted_rows_bf16)(const Bf16*, std::size_t, std::size_t, std::size_t, const float*, float*);
  void (*sparse_panel)(const SparseRun&, const float*, float*, std::size_t, std::size_t, bool,
                       const SparseAhead&);
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

void SparseMatrix::assign(const float* s, std::size_t rows, std::size_t columns) {
  rows_ = rows, columns_ = columns;
  const std::size_t runs = (columns + kRun - 1) / kRun;
  begins_.resize(runs * rows + 1);
  columns_of_.resize(rows * columns + 1);  // the last place is written to, and not used
  values_.resize(rows * columns + 1);
  std::uint32_t at = 0;
  for (std::size_t run = 0; run < runs; ++run) {
    const std::size_t first = run * kRun, count = std::min(kRun, columns - first);
    for (std::size_t r = 0; r < rows; ++r) {
      begins_[run * rows + r] = at;
      const float* row = s + r * columns + first;
      for (std::uint32_t j = 0; j < count; ++j) {  // without branches, as zeros are anywhere
        columns_of_[at] = j;
        values_[at] = row[j];
        at += row[j] != 0 ? 1 : 0;
      }
    }
  }
  begins_.back() = at;
}

void SparseMatrix::multiply(const float* b, std::size_t ldb, std::size_t width, float* c,
                            std::size_t ldc) const {
  static thread_local AlignedBuffer<float> panel(kRun * kPanelColumns);
  for (std::size_t j = 0; j < width; j += kPanelColumns) {
    const std::size_t count = std::min(kPanelColumns, width - j);
    for (std::size_t first = 0; first < columns_; first += kRun) {
      const std::size_t rows = std::min(kRun, columns_ - first);
      for (std::size_t r = 0; r < rows; ++r) {
        float* to = panel.data() + r * kPanelColumns;
        std::copy_n(b + (first + r) * ldb + j, count, to);
        std::fill_n(to + count, kPanelColumns - count, 0.0f);
      }
      const bool last = first + kRun >= columns_;
      const std::size_t next = last ? 0 : first + kRun, column = last ? j + kPanelColumns : j;
      SparseAhead ahead;
      if (column < width) ahead = {b + next * ldb + column, ldb, std::min(kRun, columns_ - next)};
      const SparseRun run{rows_, begins_.data() + first / kRun * rows_, columns_of_.data(), values_.data()};
      kernels().sparse_panel(run, panel.data(), c + j, ldc, count, first > 0, ahead);
    }
  }
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
