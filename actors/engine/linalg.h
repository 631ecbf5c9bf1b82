// Dense linear algebra on the CPU: single-threaded kernels that a lane calls.
//
// Deterministic: a result is a function of the operands' values and shapes alone, never of the calling
// thread, of what other threads do, or of where the operands lie in memory (any float-aligned address; 64
// bytes is fastest). Matrices are row-major with a leading dimension `ld` (elements between rows). Operands
// may not overlap results. A vendor library's failure throws VendorError.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <type_traits>
#include <vector>

namespace seng {

// Memory for numbers: 64-byte aligned, big blocks on huge pages where the system has them. Not initialised.
void* allocate_aligned(std::size_t bytes);  // throws std::bad_alloc; 0 bytes give null
void free_aligned(void* memory);

template <class T>
class AlignedBuffer {
 public:
  static_assert(std::is_trivially_copyable_v<T>);
  AlignedBuffer() = default;
  explicit AlignedBuffer(std::size_t count)
      : data_(static_cast<T*>(allocate_aligned(count * sizeof(T)))), size_(count) {}

  // Holds at least `count` elements afterwards; what was there is lost when it grows.
  T* at_least(std::size_t count) {
    if (count > size_) *this = AlignedBuffer(count);
    return data_.get();
  }
  T* data() { return data_.get(); }
  const T* data() const { return data_.get(); }
  std::size_t size() const { return size_; }

 private:
  struct Free {
    void operator()(T* memory) const { free_aligned(memory); }
  };
  std::unique_ptr<T, Free> data_;
  std::size_t size_ = 0;
};

// An operand of gemm: op(X) is X or, if `transposed`, X^T; `ld` is that of X as it is stored.
struct MatrixOperand {
  const float* data = nullptr;
  std::size_t ld = 0;
  bool transposed = false;
};

// C (m x n, ldc) = alpha * op(A) (m x k) * op(B) (k x n) + beta * C. With beta 0, C is only written.
void gemm(std::size_t m, std::size_t n, std::size_t k, float alpha, MatrixOperand a, MatrixOperand b,
          float beta, float* c, std::size_t ldc);

// a . b. Every 4096 elements are added in float (64 partial sums, then a fixed tree), those sums in double.
// Multiplications and additions are rounded one by one, so the bits do not depend on the instruction set
// either.
double dot(const float* a, const float* b, std::size_t count);

// y_r = row r . x for `rows` rows of `width` elements: a matrix-vector product. Each y_r has the bits of
// dot().
void row_dots(const float* matrix, std::size_t ld, std::size_t rows, std::size_t width, const float* x,
              double* y);

// y_j += sum over r of b_r * matrix[r][j], r ascending in groups of 8: a transposed matrix-vector product. A
// y_j does not depend on the other columns, so columns may be cut anywhere.
void add_weighted_rows(const float* matrix, std::size_t ld, std::size_t rows, std::size_t width,
                       const float* b, float* y);

// The entries of a matrix S that are not zero, for products of S with many columns: worth it from about 40 %
// zeros on. Entries lie by runs of kRun of S's columns, within a run row by row, within a row by column.
class SparseMatrix {
 public:
  static constexpr std::size_t kRun = 64;
  // Columns of a product that are formed together: cuts at multiples of it are the cheapest.
  static constexpr std::size_t kPanelColumns = 96;

  // Takes S (rows x columns, row-major) again, in memory that is kept between calls.
  void assign(const float* s, std::size_t rows, std::size_t columns);
  std::size_t entries() const { return begins_.empty() ? 0 : begins_.back(); }

  // C (rows x width, ldc) = S B; B: columns x width, ldb. A column of C does not depend on the others, so
  // columns may be cut anywhere. Rounded one by one, entry by entry: the bits do not depend on the
  // instruction set.
  void multiply(const float* b, std::size_t ldb, std::size_t width, float* c, std::size_t ldc) const;

 private:
  std::size_t rows_ = 0, columns_ = 0;
  std::vector<std::uint32_t> begins_;      // of each (run, row), and the end
  std::vector<std::uint32_t> columns_of_;  // within the run
  std::vector<float> values_;
};

bool all_finite(const float* values, std::size_t count);

// The Cholesky factor L (A = L L^T) of a symmetric n x n matrix whose lower triangle is given; L replaces it,
// what lies above the diagonal is not read and keeps no meaning. False when A is not positive definite (a NaN
// included).
bool cholesky(double* a, std::size_t n);

// The eigenvalues of a symmetric n x n matrix, largest first, and its orthonormal eigenvectors as the rows of
// `a`, which they replace. Finite values only. False: the iteration did not end.
bool symmetric_eigen(double* a, std::size_t n, double* values);
bool symmetric_eigen(float* a, std::size_t n, float* values);

// x <- (L L^T)^-1 x.
void cholesky_solve(const double* l, std::size_t n, double* x);

}  // namespace seng
