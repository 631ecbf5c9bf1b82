#include "actors/engine/cuda/check.h"

#include <string_view>

#include "protocol/base/error.h"

namespace seng::cuda {
namespace {

// Its path from the repository's root.
std::string_view from_root(std::string_view file) {
  const std::size_t at = file.rfind("actors/engine/");
  return at == std::string_view::npos ? file : file.substr(at);
}

const char* advice(cudaError_t status) {
  switch (status) {
    case cudaErrorInsufficientDriver:
      return ": there is no NVIDIA driver here, or it is too old for CUDA 13 (nvidia-smi shows it)";
    case cudaErrorNoDevice:
      return ": no GPU is to be seen; CUDA_VISIBLE_DEVICES may hide it";
    case cudaErrorMemoryAllocation:
      return ": the GPU's memory is full; a smaller batch.micro or fewer lanes need less";
    case cudaErrorNoKernelImageForDevice:
    case cudaErrorUnsupportedPtxVersion:
      return ": this program was not built for this GPU; SENG_CUDA_ARCHITECTURES says for which it is";
    case cudaErrorECCUncorrectable:
    case cudaErrorHardwareStackError:
    case cudaErrorDevicesUnavailable:
    case cudaErrorLaunchFailure:
    case cudaErrorIllegalAddress:
    case cudaErrorUnknown:
      return ": the GPU is lost to this process; the kernel's log (dmesg) has its Xid";
    default:
      return "";
  }
}

// A library's status says little where the device itself has failed: CUDA's own last word then.
std::string underneath() {
  const cudaError_t status = cudaPeekAtLastError();
  return status == cudaSuccess ? "" : "; CUDA says: " + words_of(status);
}

}  // namespace

void throw_failure(const std::string& library, const std::string& what, const char* call, const char* file,
                   int line) {
  throw VendorError(library + ": " + what + "; in " + call + ", " + std::string(from_root(file)) + ":" +
                    std::to_string(line));
}

std::string words_of(cudaError_t status) {
  return std::string(cudaGetErrorString(status)) + " (" + cudaGetErrorName(status) + ")" + advice(status);
}

std::string words_of(cudnnStatus_t status) {
  char more[512] = "";
  cudnnGetLastErrorString(more, sizeof more);
  std::string words = cudnnGetErrorString(status);
  if (more[0] != '\0') words += std::string(": ") + more;
  return words + underneath();
}

std::string words_of(cublasStatus_t status) {
  return std::string(cublasGetStatusString(status)) + " (" + cublasGetStatusName(status) + ")" + underneath();
}

// cuSOLVER has no words of its own.
std::string words_of(cusolverStatus_t status) {
  const auto words = [&] {
    switch (status) {
      case CUSOLVER_STATUS_NOT_INITIALIZED:
        return "it is not initialised (CUSOLVER_STATUS_NOT_INITIALIZED)";
      case CUSOLVER_STATUS_ALLOC_FAILED:
        return "out of memory (CUSOLVER_STATUS_ALLOC_FAILED)";
      case CUSOLVER_STATUS_INVALID_VALUE:
        return "an argument is not valid (CUSOLVER_STATUS_INVALID_VALUE)";
      case CUSOLVER_STATUS_ARCH_MISMATCH:
        return "this GPU lacks what it needs (CUSOLVER_STATUS_ARCH_MISMATCH)";
      case CUSOLVER_STATUS_EXECUTION_FAILED:
        return "a kernel failed (CUSOLVER_STATUS_EXECUTION_FAILED)";
      case CUSOLVER_STATUS_INTERNAL_ERROR:
        return "an internal error (CUSOLVER_STATUS_INTERNAL_ERROR)";
      case CUSOLVER_STATUS_NOT_SUPPORTED:
        return "not supported (CUSOLVER_STATUS_NOT_SUPPORTED)";
      default:
        return "an error";
    }
  }();
  return std::string(words) + ", status " + std::to_string(int(status)) + underneath();
}

}  // namespace seng::cuda
