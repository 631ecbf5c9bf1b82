#include "actors/engine/cuda/cuda_backend.h"

namespace seng::cuda {
namespace {

class CudaSums final : public Sums {
 public:
  CudaSums(CudaBackend& backend, std::size_t count) : backend_(backend), count_(count) {}

  void scale(float* x, float factor, std::size_t count) override {
    SENG_CUDA_LAUNCH(launch_scale(backend_.stream(), x, factor, count));
  }
  void copy(const float* x, float* y) override {
    SENG_CUDA(cudaMemcpyAsync(y, x, count_ * sizeof(float), cudaMemcpyDeviceToDevice, backend_.stream()));
  }
  void add(const float* left, const float* right, float* sum) override {
    SENG_CUDA_LAUNCH(launch_add(backend_.stream(), Element::kF32, left, right, sum, count_, false));
  }

 private:
  CudaBackend& backend_;
  std::size_t count_;
};

}  // namespace

std::unique_ptr<Sums> CudaBackend::plan_sums(std::size_t count) {
  return std::make_unique<CudaSums>(*this, count);
}

}  // namespace seng::cuda
