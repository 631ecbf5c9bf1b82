// Stands in for cuSOLVER's header of this name: what the backend uses of it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tests/support/emulated_cuda/cublas_v2.h"

using cusolverDnHandle_t = struct cusolverDnContext*;
using cusolverDnParams_t = struct cusolverDnParams*;
enum cusolverStatus_t {
  CUSOLVER_STATUS_SUCCESS = 0,
  CUSOLVER_STATUS_NOT_INITIALIZED = 1,
  CUSOLVER_STATUS_ALLOC_FAILED = 2,
  CUSOLVER_STATUS_INVALID_VALUE = 3,
  CUSOLVER_STATUS_ARCH_MISMATCH = 4,
  CUSOLVER_STATUS_EXECUTION_FAILED = 6,
  CUSOLVER_STATUS_INTERNAL_ERROR = 7,
  CUSOLVER_STATUS_NOT_SUPPORTED = 9,
};
enum cusolverEigMode_t { CUSOLVER_EIG_MODE_NOVECTOR = 0, CUSOLVER_EIG_MODE_VECTOR = 1 };
enum cusolverDeterministicMode_t { CUSOLVER_DETERMINISTIC_RESULTS = 1 };

cusolverStatus_t cusolverDnCreate(cusolverDnHandle_t* handle);
cusolverStatus_t cusolverDnDestroy(cusolverDnHandle_t handle);
cusolverStatus_t cusolverDnSetStream(cusolverDnHandle_t handle, cudaStream_t stream);
cusolverStatus_t cusolverDnSetDeterministicMode(cusolverDnHandle_t handle, cusolverDeterministicMode_t mode);
cusolverStatus_t cusolverDnCreateParams(cusolverDnParams_t* parameters);
cusolverStatus_t cusolverDnDestroyParams(cusolverDnParams_t parameters);

cusolverStatus_t cusolverDnXsyevd_bufferSize(cusolverDnHandle_t handle, cusolverDnParams_t parameters,
                                             cusolverEigMode_t vectors, cublasFillMode_t triangle,
                                             std::int64_t n, cudaDataType_t a_type, const void* a,
                                             std::int64_t lda, cudaDataType_t values_type, const void* values,
                                             cudaDataType_t compute, std::size_t* device, std::size_t* host);
cusolverStatus_t cusolverDnXsyevd(cusolverDnHandle_t handle, cusolverDnParams_t parameters,
                                  cusolverEigMode_t vectors, cublasFillMode_t triangle, std::int64_t n,
                                  cudaDataType_t a_type, void* a, std::int64_t lda,
                                  cudaDataType_t values_type, void* values, cudaDataType_t compute,
                                  void* device, std::size_t device_bytes, void* host, std::size_t host_bytes,
                                  int* info);
cusolverStatus_t cusolverDnXpotrf_bufferSize(cusolverDnHandle_t handle, cusolverDnParams_t parameters,
                                             cublasFillMode_t triangle, std::int64_t n, cudaDataType_t a_type,
                                             const void* a, std::int64_t lda, cudaDataType_t compute,
                                             std::size_t* device, std::size_t* host);
cusolverStatus_t cusolverDnXpotrf(cusolverDnHandle_t handle, cusolverDnParams_t parameters,
                                  cublasFillMode_t triangle, std::int64_t n, cudaDataType_t a_type, void* a,
                                  std::int64_t lda, cudaDataType_t compute, void* device,
                                  std::size_t device_bytes, void* host, std::size_t host_bytes, int* info);
cusolverStatus_t cusolverDnXpotrs(cusolverDnHandle_t handle, cusolverDnParams_t parameters,
                                  cublasFillMode_t triangle, std::int64_t n, std::int64_t columns,
                                  cudaDataType_t a_type, const void* a, std::int64_t lda,
                                  cudaDataType_t b_type, void* b, std::int64_t ldb, int* info);
