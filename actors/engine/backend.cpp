#include "actors/engine/backend.h"

namespace seng {

Result<std::unique_ptr<Backend>> make_backend(Device device) {
  if (device == Device::kCuda) return cuda::make_backend();
  return cpu::make_backend();
}

}  // namespace seng
