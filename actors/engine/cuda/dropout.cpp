#include <algorithm>
#include <cmath>

#include "actors/engine/cuda/cuda_backend.h"

namespace seng::cuda {
namespace {

class CudaDropout final : public Dropout {
 public:
  CudaDropout(CudaBackend& backend, TensorShape shape, double probability)
      : backend_(backend), samples_(shape.n), elements_(shape.count() / std::max(shape.n, 1)) {
    mask_.dropped_below = static_cast<std::uint64_t>(std::llround(probability * 0x1p32));
    mask_.scale = static_cast<float>(1.0 / (1.0 - probability));
  }

  void run(const DropoutKey* key, std::uint32_t layer, const float* x, float* y) override {
    mask_.layer = layer;
    SENG_CUDA_LAUNCH(launch_dropout(backend_.stream(), mask_, key, x, y, samples_, elements_));
  }

 private:
  CudaBackend& backend_;
  int samples_;
  std::size_t elements_;
  DropoutMask mask_;
};

}  // namespace

std::unique_ptr<Dropout> CudaBackend::plan_dropout(TensorShape shape, double probability) {
  return std::make_unique<CudaDropout>(*this, shape, probability);
}

}  // namespace seng::cuda
