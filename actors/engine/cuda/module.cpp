#include "actors/engine/cuda/cuda_backend.h"
#include "actors/engine/cuda_interface.h"

extern "C" __attribute__((visibility("default"))) const seng::cuda::Module seng_cuda_module;
const seng::cuda::Module seng_cuda_module = {
    seng::cuda::kInterface,
    [](seng::Arithmetic precision, seng::ConvolutionChooser* chooser) -> std::unique_ptr<seng::Backend> {
      return std::make_unique<seng::cuda::CudaBackend>(precision, chooser);
    }};
