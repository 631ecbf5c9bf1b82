#include "actors/engine/backend.h"

namespace seng::cuda {

Result<std::unique_ptr<Backend>> make_backend() {
  return fail(
      ErrorCode::kUnsupported,
      "no CUDA device: this program was built without the CUDA backend (it needs the CUDA Toolkit, cuDNN 9 "
      "and an NVIDIA GPU); run on the cpu device");
}

}  // namespace seng::cuda
