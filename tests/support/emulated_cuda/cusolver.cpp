#include <cstdlib>
#include <cstring>
#include <vector>

#include <cblas.h>
#include <lapacke.h>

#include "tests/support/emulated_cuda/cusolverDn.h"
#include "tests/support/emulated_cuda/device.h"

struct cusolverDnContext {
  cudaStream_t stream = nullptr;
};
struct cusolverDnParams {};

namespace {

constexpr std::size_t kHostBytes = 64;

// What a call takes beside its operands, by its order and its elements' bytes. Not LAPACK's: it has its own.
std::size_t device_bytes_of(std::int64_t n, std::size_t element) {
  return static_cast<std::size_t>(3 * n + 7) * element;
}

// SENG_EMULATED_CUSOLVER_INFO: what every factorisation says that it comes to.
int told_info(int info) {
  const char* text = std::getenv("SENG_EMULATED_CUSOLVER_INFO");
  return text == nullptr ? info : std::atoi(text);
}

bool takes(std::int64_t n, std::int64_t ld, void* device, std::size_t device_bytes, void* host,
           std::size_t host_bytes, std::size_t element) {
  if (n < 1 || ld < n || device == nullptr || device_bytes < device_bytes_of(n, element) || host == nullptr ||
      host_bytes < kHostBytes)
    return false;
  std::memset(host, 0xff, kHostBytes);
  return true;
}

}  // namespace

cusolverStatus_t cusolverDnCreate(cusolverDnHandle_t* handle) {
  if (emulated_cuda::refused_in_capture()) return CUSOLVER_STATUS_NOT_INITIALIZED;
  openblas_set_num_threads(1);
  *handle = new cusolverDnContext;
  return CUSOLVER_STATUS_SUCCESS;
}
cusolverStatus_t cusolverDnDestroy(cusolverDnHandle_t handle) {
  delete handle;
  return CUSOLVER_STATUS_SUCCESS;
}
cusolverStatus_t cusolverDnSetStream(cusolverDnHandle_t handle, cudaStream_t stream) {
  handle->stream = stream;
  return CUSOLVER_STATUS_SUCCESS;
}
cusolverStatus_t cusolverDnSetDeterministicMode(cusolverDnHandle_t, cusolverDeterministicMode_t) {
  return CUSOLVER_STATUS_SUCCESS;
}
cusolverStatus_t cusolverDnCreateParams(cusolverDnParams_t* parameters) {
  *parameters = new cusolverDnParams;
  return CUSOLVER_STATUS_SUCCESS;
}
cusolverStatus_t cusolverDnDestroyParams(cusolverDnParams_t parameters) {
  delete parameters;
  return CUSOLVER_STATUS_SUCCESS;
}

cusolverStatus_t cusolverDnXsyevd_bufferSize(cusolverDnHandle_t, cusolverDnParams_t, cusolverEigMode_t,
                                             cublasFillMode_t, std::int64_t n, cudaDataType_t, const void* a,
                                             std::int64_t lda, cudaDataType_t, const void* values,
                                             cudaDataType_t, std::size_t* device, std::size_t* host) {
  if (n < 1 || lda < n || a == nullptr || values == nullptr) return CUSOLVER_STATUS_INVALID_VALUE;
  *device = device_bytes_of(n, sizeof(float));
  *host = kHostBytes;
  return CUSOLVER_STATUS_SUCCESS;
}

// In float only, eigenvectors too; the triangle that is not asked for is not read.
cusolverStatus_t cusolverDnXsyevd(cusolverDnHandle_t handle, cusolverDnParams_t parameters,
                                  cusolverEigMode_t vectors, cublasFillMode_t triangle, std::int64_t n,
                                  cudaDataType_t a_type, void* a, std::int64_t lda,
                                  cudaDataType_t values_type, void* values, cudaDataType_t compute,
                                  void* device, std::size_t device_bytes, void* host, std::size_t host_bytes,
                                  int* info) {
  if (parameters == nullptr || vectors != CUSOLVER_EIG_MODE_VECTOR || a_type != CUDA_R_32F ||
      values_type != CUDA_R_32F || compute != CUDA_R_32F ||
      !takes(n, lda, device, device_bytes, host, host_bytes, sizeof(float)))
    return CUSOLVER_STATUS_INVALID_VALUE;
  emulated_cuda::queue(handle->stream, [=] {
    std::memset(device, 0xff, device_bytes);
    *info = told_info(LAPACKE_ssyevd(LAPACK_COL_MAJOR, 'V', triangle == CUBLAS_FILL_MODE_UPPER ? 'U' : 'L',
                                     lapack_int(n), static_cast<float*>(a), lapack_int(lda),
                                     static_cast<float*>(values)));
  });
  return CUSOLVER_STATUS_SUCCESS;
}

cusolverStatus_t cusolverDnXpotrf_bufferSize(cusolverDnHandle_t, cusolverDnParams_t, cublasFillMode_t,
                                             std::int64_t n, cudaDataType_t, const void* a, std::int64_t lda,
                                             cudaDataType_t, std::size_t* device, std::size_t* host) {
  if (n < 1 || lda < n || a == nullptr) return CUSOLVER_STATUS_INVALID_VALUE;
  *device = device_bytes_of(n, sizeof(double));
  *host = kHostBytes;
  return CUSOLVER_STATUS_SUCCESS;
}

cusolverStatus_t cusolverDnXpotrf(cusolverDnHandle_t handle, cusolverDnParams_t parameters,
                                  cublasFillMode_t triangle, std::int64_t n, cudaDataType_t a_type, void* a,
                                  std::int64_t lda, cudaDataType_t compute, void* device,
                                  std::size_t device_bytes, void* host, std::size_t host_bytes, int* info) {
  if (parameters == nullptr || a_type != CUDA_R_64F || compute != CUDA_R_64F ||
      !takes(n, lda, device, device_bytes, host, host_bytes, sizeof(double)))
    return CUSOLVER_STATUS_INVALID_VALUE;
  emulated_cuda::queue(handle->stream, [=] {
    std::memset(device, 0xff, device_bytes);
    *info = told_info(LAPACKE_dpotrf(LAPACK_COL_MAJOR, triangle == CUBLAS_FILL_MODE_UPPER ? 'U' : 'L',
                                     lapack_int(n), static_cast<double*>(a), lapack_int(lda)));
  });
  return CUSOLVER_STATUS_SUCCESS;
}

cusolverStatus_t cusolverDnXpotrs(cusolverDnHandle_t handle, cusolverDnParams_t parameters,
                                  cublasFillMode_t triangle, std::int64_t n, std::int64_t columns,
                                  cudaDataType_t a_type, const void* a, std::int64_t lda,
                                  cudaDataType_t b_type, void* b, std::int64_t ldb, int* info) {
  if (parameters == nullptr || a_type != CUDA_R_64F || b_type != CUDA_R_64F || n < 1 || lda < n || ldb < n)
    return CUSOLVER_STATUS_INVALID_VALUE;
  emulated_cuda::queue(handle->stream, [=] {
    *info = LAPACKE_dpotrs(LAPACK_COL_MAJOR, triangle == CUBLAS_FILL_MODE_UPPER ? 'U' : 'L', lapack_int(n),
                           lapack_int(columns), static_cast<const double*>(a), lapack_int(lda),
                           static_cast<double*>(b), lapack_int(ldb));
  });
  return CUSOLVER_STATUS_SUCCESS;
}
