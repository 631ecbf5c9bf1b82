#include <cstring>

#include "tests/support/emulated_cuda/cublas_v2.h"
#include "tests/support/emulated_cuda/device.h"

struct cublasContext {
  cudaStream_t stream = nullptr;
  void* workspace = nullptr;
  std::size_t workspace_bytes = 0;
};

cublasStatus_t cublasCreate(cublasHandle_t* handle) {
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
cublasStatus_t cublasSgemm(cublasHandle_t handle, cublasOperation_t op_a, cublasOperation_t op_b, int m,
                           int n, int k, const float* alpha, const float* a, int lda, const float* b, int ldb,
                           const float* beta, float* c, int ldc) {
  if (handle->workspace == nullptr || lda < (op_a == CUBLAS_OP_N ? m : k) ||
      ldb < (op_b == CUBLAS_OP_N ? k : n) || ldc < m)
    return CUBLAS_STATUS_INVALID_VALUE;
  const float factor = *alpha, keep = *beta;
  const cublasContext context = *handle;
  emulated_cuda::queue(context.stream, [=] {
    std::memset(context.workspace, 0xff, 256);
    for (int column = 0; column < n; ++column) {
      for (int row = 0; row < m; ++row) {
        double sum = 0;
        for (int i = 0; i < k; ++i) {
          const float x = op_a == CUBLAS_OP_N ? a[row + std::size_t(i) * lda] : a[i + std::size_t(row) * lda];
          const float y =
              op_b == CUBLAS_OP_N ? b[i + std::size_t(column) * ldb] : b[column + std::size_t(i) * ldb];
          sum += double(x) * y;
        }
        float& out = c[row + std::size_t(column) * ldc];
        out = static_cast<float>(factor * sum + (keep == 0 ? 0.0 : keep * double(out)));
      }
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
