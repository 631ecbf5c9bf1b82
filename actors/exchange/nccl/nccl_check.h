// Every call of CUDA's runtime and of NCCL is checked: SENG_LINK(call) throws a VendorError with the call's
// text, the library's words for what went wrong, and the place.
#pragma once

#include <string>

#include <cuda_runtime_api.h>
#include <nccl.h>

namespace seng::link {

[[noreturn]] void throw_failure(const std::string& what, const char* call, const char* file, int line);

// "NCCL: unhandled system error: Connection refused"
std::string words_of(ncclResult_t result, ncclComm_t communicator = nullptr);

inline void check(cudaError_t status, const char* call, const char* file, int line) {
  if (status == cudaSuccess) return;
  throw_failure(std::string("CUDA: ") + cudaGetErrorString(status) + " (" + cudaGetErrorName(status) + ")",
                call, file, line);
}
// A call on a communicator that does not block may still be at work.
inline void check(ncclResult_t result, const char* call, const char* file, int line) {
  if (result != ncclSuccess && result != ncclInProgress) throw_failure(words_of(result), call, file, line);
}

}  // namespace seng::link

#define SENG_LINK(call) ::seng::link::check((call), #call, __FILE__, __LINE__)
