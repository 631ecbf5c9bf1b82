#include "actors/exchange/nccl/nccl_check.h"

#include <string_view>

#include "protocol/base/error.h"

namespace seng::link {
namespace {

// Its path from the repository's root.
std::string_view from_root(std::string_view file) {
  const std::size_t at = file.rfind("actors/exchange/");
  return at == std::string_view::npos ? file : file.substr(at);
}

const char* advice(ncclResult_t result) {
  switch (result) {
    case ncclInvalidUsage:
      return ": actors that share a GPU need an NCCL_HOSTID each, which sengd sets";
    case ncclUnhandledCudaError:
    case ncclSystemError:
    case ncclInternalError:
      return ": with NCCL_DEBUG=WARN in sengd's environment the actor's log says more";
    default:
      return "";
  }
}

}  // namespace

void throw_failure(const std::string& what, const char* call, const char* file, int line) {
  throw VendorError(what + "; in " + call + ", " + std::string(from_root(file)) + ":" + std::to_string(line));
}

std::string words_of(ncclResult_t result, ncclComm_t communicator) {
  std::string words = std::string("NCCL: ") + ncclGetErrorString(result);
  const char* last = ncclGetLastError(communicator);
  if (last != nullptr && *last != '\0') words += std::string(": ") + last;
  return words + advice(result);
}

}  // namespace seng::link
