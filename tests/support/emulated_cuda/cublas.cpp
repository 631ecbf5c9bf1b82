#include <cstring>

#include "tests/support/emulated_cuda/cublas_v2.h"
#include "tests/support/emulated_cuda/device.h"
#include "tests/support/emulated_cuda/half.h"

struct cublasContext {
  cudaStream_t stream = nullptr;
  void* workspace = nullptr;
  std::size_t workspace_bytes = 0;
};

namespace {

double element(const void* memory, cudaDataType_t type, std::size_t at) {
  if (type == CUDA_R_32F) return static_cast<const float*>(memory)[at];
  const std::uint16_t bits = static_cast<const std::uint16_t*>(memory)[at];
  return type == CUDA_R_16F ? emulated_cuda::of_half(bits) : emulated_cuda::of_bfloat16(bits);
}

}  // namespace

cublasStatus_t cublasCreate(cublasHandle_t* handle) {
  if (emulated_cuda::refused_in_capture()) return CUBLAS_STATUS_NOT_INITIALIZED;
  *handle = new cublasContext;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasDestroy(cublasHandle_t handle) {
  delete handle;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetStream(cublasHandle_t handle, cudaStream_t stream) {
  *handle = {stream, nullptr, 0};
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetWorkspace(cublasHandle_t handle, void* workspace, std::size_t bytes) {
  handle->workspace = workspace;
  handle->workspace_bytes = bytes;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetAtomicsMode(cublasHandle_t, cublasAtomicsMode_t) {
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetMathMode(cublasHandle_t, cublasMath_t) {
  return CUBLAS_STATUS_SUCCESS;
}

// Column-major, as BLAS is: element (row, column) of a matrix lies at row + column * ld.
cublasStatus_t cublasGemmEx(cublasHandle_t handle, cublasOperation_t op_a, cublasOperation_t op_b, int m,
                            int n, int k, const void* alpha, const void* a, cudaDataType_t a_type, int lda,
                            const void* b, cudaDataType_t b_type, int ldb, const void* beta, void* c_memory,
                            cudaDataType_t c_type, int ldc, cublasComputeType_t, cublasGemmAlgo_t) {
  if (handle->workspace == nullptr || lda < (op_a == CUBLAS_OP_N ? m : k) ||
      ldb < (op_b == CUBLAS_OP_N ? k : n) || ldc < m || a_type != b_type || c_type != CUDA_R_32F)
    return CUBLAS_STATUS_INVALID_VALUE;
  const float factor = *static_cast<const float*>(alpha), keep = *static_cast<const float*>(beta);
  const cublasContext context = *handle;
  emulated_cuda::queue(context.stream, [=] {
    std::memset(context.workspace, 0xff, 256);
    auto* c = static_cast<float*>(c_memory);
    for (int column = 0; column < n; ++column) {
      for (int row = 0; row < m; ++row) {
        double sum = 0;
        for (int i = 0; i < k; ++i) {
          const std::size_t of_a =
              op_a == CUBLAS_OP_N ? row + std::size_t(i) * lda : i + std::size_t(row) * lda;
          const std::size_t of_b =
              op_b == CUBLAS_OP_N ? i + std::size_t(column) * ldb : column + std::size_t(i) * ldb;
          sum += element(a, a_type, of_a) * element(b, b_type, of_b);
        }
        float& out = c[row + std::size_t(column) * ldc];
        out = static_cast<float>(factor * sum + (keep == 0 ? 0.0 : keep * double(out)));
      }
    }
  });
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSgemm(cublasHandle_t handle, cublasOperation_t op_a, cublasOperation_t op_b, int m,
                           int n, int k, const float* alpha, const float* a, int lda, const float* b, int ldb,
                           const float* beta, float* c, int ldc) {
  return cublasGemmEx(handle, op_a, op_b, m, n, k, alpha, a, CUDA_R_32F, lda, b, CUDA_R_32F, ldb, beta, c,
                      CUDA_R_32F, ldc, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT);
}
cublasStatus_t cublasSgemmStridedBatched(cublasHandle_t handle, cublasOperation_t op_a,
                                         cublasOperation_t op_b, int m, int n, int k, const float* alpha,
                                         const float* a, int lda, long long stride_a, const float* b, int ldb,
                                         long long stride_b, const float* beta, float* c, int ldc,
                                         long long stride_c, int count) {
  cublasStatus_t status = count > 0 ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INVALID_VALUE;
  for (int i = 0; i < count && status == CUBLAS_STATUS_SUCCESS; ++i)
    status = cublasSgemm(handle, op_a, op_b, m, n, k, alpha, a + i * stride_a, lda, b + i * stride_b, ldb,
                         beta, c + i * stride_c, ldc);
  return status;
}

// C = alpha A A^T + beta C, A [n, k]; what lies on the other side of the diagonal is not touched.
cublasStatus_t cublasSsyrk(cublasHandle_t handle, cublasFillMode_t triangle, cublasOperation_t op, int n,
                           int k, const float* alpha, const float* a, int lda, const float* beta, float* c,
                           int ldc) {
  if (handle->workspace == nullptr || op != CUBLAS_OP_N || lda < n || ldc < n)
    return CUBLAS_STATUS_INVALID_VALUE;
  const float factor = *alpha, keep = *beta;
  const cublasContext context = *handle;
  emulated_cuda::queue(context.stream, [=] {
    std::memset(context.workspace, 0xff, 256);
    for (int column = 0; column < n; ++column) {
      const bool upper = triangle == CUBLAS_FILL_MODE_UPPER;
      for (int row = upper ? 0 : column; row < (upper ? column + 1 : n); ++row) {
        double sum = 0;
        for (int i = 0; i < k; ++i)
          sum += double(a[row + std::size_t(i) * lda]) * a[column + std::size_t(i) * lda];
        float& out = c[row + std::size_t(column) * ldc];
        out = static_cast<float>(factor * sum + (keep == 0 ? 0.0 : keep * double(out)));
      }
    }
  });
  return CUBLAS_STATUS_SUCCESS;
}

// y = alpha op(A) x + beta y, A [m, n].
cublasStatus_t cublasSgemv(cublasHandle_t handle, cublasOperation_t op, int m, int n, const float* alpha,
                           const float* a, int lda, const float* x, int incx, const float* beta, float* y,
                           int incy) {
  if (handle->workspace == nullptr || lda < m || incx == 0 || incy != 1) return CUBLAS_STATUS_INVALID_VALUE;
  const float factor = *alpha, keep = *beta;
  const cublasContext context = *handle;
  emulated_cuda::queue(context.stream, [=] {
    std::memset(context.workspace, 0xff, 256);
    const int rows = op == CUBLAS_OP_N ? m : n, terms = op == CUBLAS_OP_N ? n : m;
    for (int row = 0; row < rows; ++row) {
      double sum = 0;
      for (int i = 0; i < terms; ++i) {
        const std::size_t at = op == CUBLAS_OP_N ? row + std::size_t(i) * lda : i + std::size_t(row) * lda;
        sum += double(a[at]) * x[std::size_t(i) * incx];
      }
      y[row] = static_cast<float>(factor * sum + (keep == 0 ? 0.0 : keep * double(y[row])));
    }
  });
  return CUBLAS_STATUS_SUCCESS;
}

const char* cublasGetStatusString(cublasStatus_t) {
  return "an invalid value";
}
const char* cublasGetStatusName(cublasStatus_t) {
  return "CUBLAS_STATUS_INVALID_VALUE";
}
