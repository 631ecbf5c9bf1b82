#include "actors/engine/backend.h"

#include "actors/engine/cuda_module.h"

namespace seng {

namespace cpu {
std::unique_ptr<Backend> make_backend();  // cpu/cpu_backend.cpp
}

Result<std::unique_ptr<Backend>> make_backend(Device device, Arithmetic precision,
                                              ConvolutionChooser* chooser) {
  if (device == Device::kCuda) return cuda::make_backend(precision, chooser);
  if (precision != Arithmetic::kF32)
    return fail(ErrorCode::kUnsupported, std::string("engine.precision: ") + arithmetic_name(precision) +
                                             " needs a CUDA device; the cpu device computes in f32");
  return cpu::make_backend();
}

}  // namespace seng
