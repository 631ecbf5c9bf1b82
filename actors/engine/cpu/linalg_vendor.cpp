#include <algorithm>
#include <cstdlib>
#include <string>

#include <lapacke.h>
#include <oneapi/dnnl/dnnl.h>
#include <sys/mman.h>

#include "actors/engine/cpu/gemm_avx512.h"
#include "actors/engine/cpu/threads.h"
#include "actors/engine/linalg.h"
#include "protocol/base/error.h"

namespace seng {
namespace {

constexpr std::size_t kAlignment = 64;
constexpr std::size_t kHugePage = std::size_t(2) << 20;

void scale_rows(std::size_t m, std::size_t n, float beta, float* c, std::size_t ldc) {
  for (std::size_t i = 0; i < m; ++i) {
    for (std::size_t j = 0; j < n; ++j) c[i * ldc + j] = beta == 0 ? 0.0f : beta * c[i * ldc + j];
  }
}

// Rows of fewer products lose against oneDNN's packing: the sums over the lanes then count.
constexpr std::size_t kLongRows = 512;

bool own_kernel(const MatrixOperand& a, const MatrixOperand& b, std::size_t k) {
  return b.transposed ? !a.transposed && k >= kLongRows : true;
}

// Smallest first, as LAPACK gives them, becomes largest first.
template <class T>
void reverse_order(T* vectors, std::size_t n, T* values) {
  std::reverse(values, values + n);
  for (std::size_t low = 0, high = n - 1; low < high; ++low, --high) {
    std::swap_ranges(vectors + low * n, vectors + (low + 1) * n, vectors + high * n);
  }
}

}  // namespace

void* allocate_aligned(std::size_t bytes) {
  if (bytes == 0) return nullptr;
  const std::size_t alignment = bytes >= 2 * kHugePage ? kHugePage : kAlignment;
  const std::size_t rounded = (bytes + alignment - 1) / alignment * alignment;
  if (rounded < bytes) throw std::bad_alloc();
  void* memory = std::aligned_alloc(alignment, rounded);
  if (memory == nullptr) throw std::bad_alloc();
  // Curvature is streamed through whole at every step: with 4 KiB pages half of that time goes to address
  // translation. A kernel without huge pages refuses, which changes nothing.
  if (alignment == kHugePage) (void)madvise(memory, rounded, MADV_HUGEPAGE);
  return memory;
}

void free_aligned(void* memory) {
  std::free(memory);
}

void gemm(std::size_t m, std::size_t n, std::size_t k, float alpha, MatrixOperand a, MatrixOperand b,
          float beta, float* c, std::size_t ldc) {
  if (m == 0 || n == 0) return;
  if (k == 0) return scale_rows(m, n, beta, c, ldc);
  if (cpu::has_avx512() && own_kernel(a, b, k)) {
    const cpu::GemmShape shape{m, n, k, alpha, beta, a.data, b.data, a.ld, b.ld, c, ldc};
    return b.transposed ? cpu::gemm_rows_by_rows(shape) : cpu::gemm_by_matrix(shape, a.transposed);
  }
  cpu::use_one_thread();
  const auto dim = [](std::size_t value) { return static_cast<dnnl_dim_t>(value); };
  const dnnl_status_t status =
      dnnl_sgemm(a.transposed ? 'T' : 'N', b.transposed ? 'T' : 'N', dim(m), dim(n), dim(k), alpha, a.data,
                 dim(a.ld), b.data, dim(b.ld), beta, c, dim(ldc));
  if (status != dnnl_success) {
    throw VendorError("dnnl_sgemm " + std::to_string(m) + "x" + std::to_string(n) + "x" + std::to_string(k) +
                      ": status " + std::to_string(static_cast<int>(status)));
  }
}

bool cholesky(double* a, std::size_t n) {
  if (n == 0) return true;
  cpu::use_one_thread();
  // The lower triangle of a row-major matrix is the upper one of the column-major matrix that LAPACK sees.
  const lapack_int info =
      LAPACKE_dpotrf_work(LAPACK_COL_MAJOR, 'U', static_cast<lapack_int>(n), a, static_cast<lapack_int>(n));
  if (info < 0) throw VendorError("LAPACKE_dpotrf: argument " + std::to_string(-info) + " is not valid");
  if (info > 0) return false;
  // A NaN need not stop the factorisation, but it reaches the diagonal.
  for (std::size_t i = 0; i < n; ++i) {
    if (!(a[i * n + i] > 0) || !(a[i * n + i] <= 1.7976931348623157e308)) return false;
  }
  return true;
}

bool symmetric_eigen(double* a, std::size_t n, double* values) {
  if (n == 0) return true;
  cpu::use_one_thread();
  const auto size = static_cast<lapack_int>(n);
  // Column-major eigenvectors are rows here; the values come smallest first.
  const lapack_int info = LAPACKE_dsyevd(LAPACK_COL_MAJOR, 'V', 'U', size, a, size, values);
  if (info < 0) throw VendorError("LAPACKE_dsyevd: argument " + std::to_string(-info) + " is not valid");
  if (info > 0) return false;
  reverse_order(a, n, values);
  return true;
}

bool symmetric_eigen(float* a, std::size_t n, float* values) {
  if (n == 0) return true;
  cpu::use_one_thread();
  const auto size = static_cast<lapack_int>(n);
  // Work space of our own: ssyevd tells its size as a float, which rounds it down where n is above 2,895.
  AlignedBuffer<float> work(1 + 6 * n + 2 * n * n);
  AlignedBuffer<lapack_int> whole(3 + 5 * n);
  const lapack_int info = LAPACKE_ssyevd_work(LAPACK_COL_MAJOR, 'V', 'U', size, a, size, values, work.data(),
                                              static_cast<lapack_int>(work.size()), whole.data(),
                                              static_cast<lapack_int>(whole.size()));
  if (info < 0) throw VendorError("LAPACKE_ssyevd: argument " + std::to_string(-info) + " is not valid");
  if (info > 0) return false;
  reverse_order(a, n, values);
  return true;
}

}  // namespace seng
