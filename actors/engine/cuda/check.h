// Every call of a vendor's library is checked: SENG_CUDA(call) throws a VendorError with the call's text, the
// library's words for what went wrong, what may be done about it, and the place.
#pragma once

#include <string>

#include <cublas_v2.h>
#include <cuda_runtime_api.h>
#include <cudnn.h>
#include <cusolverDn.h>

namespace seng::cuda {

[[noreturn]] void throw_failure(const std::string& library, const std::string& what, const char* call,
                                const char* file, int line);

// "out of memory (cudaErrorMemoryAllocation): the GPU's memory is full ..."
std::string words_of(cudaError_t status);
std::string words_of(cudnnStatus_t status);
std::string words_of(cublasStatus_t status);
std::string words_of(cusolverStatus_t status);

// Who can go on without what was refused does: the next launch is not to be told of it.
inline void check(cudaError_t status, const char* call, const char* file, int line) {
  if (status == cudaSuccess) return;
  (void)cudaGetLastError();
  throw_failure("CUDA", words_of(status), call, file, line);
}
inline void check(cudnnStatus_t status, const char* call, const char* file, int line) {
  if (status != CUDNN_STATUS_SUCCESS) throw_failure("cuDNN", words_of(status), call, file, line);
}
inline void check(cublasStatus_t status, const char* call, const char* file, int line) {
  if (status != CUBLAS_STATUS_SUCCESS) throw_failure("cuBLAS", words_of(status), call, file, line);
}
inline void check(cusolverStatus_t status, const char* call, const char* file, int line) {
  if (status != CUSOLVER_STATUS_SUCCESS) throw_failure("cuSOLVER", words_of(status), call, file, line);
}

}  // namespace seng::cuda

#define SENG_CUDA(call) ::seng::cuda::check((call), #call, __FILE__, __LINE__)
// Queues own kernels, and reports a launch that is refused.
#define SENG_CUDA_LAUNCH(call)                                          \
  do {                                                                  \
    call;                                                               \
    ::seng::cuda::check(cudaGetLastError(), #call, __FILE__, __LINE__); \
  } while (0)
