#include "actors/engine/cuda/cuda_backend.h"

namespace seng::cuda {
namespace {

// Pinned memory that copies fill one behind the other.
class CudaDrain final : public Drain {
 public:
  CudaDrain(CudaBackend& backend, std::size_t floats)
      : backend_(backend), room_(floats), pinned_(make_pinned_memory(floats * sizeof(float))) {}
  ~CudaDrain() override { (void)cudaStreamSynchronize(backend_.stream()); }  // the pinned area goes next

  void begin() override { used_ = 0; }
  float* take(const float* memory, std::size_t count) override {
    SENG_CHECK(used_ + count <= room_, "more than a drain has room for");
    float* place = static_cast<float*>(pinned_.get()) + used_;
    used_ += (count + kBoundary - 1) / kBoundary * kBoundary;
    SENG_CUDA(
        cudaMemcpyAsync(place, memory, count * sizeof(float), cudaMemcpyDeviceToHost, backend_.stream()));
    return place;
  }

  static constexpr std::size_t kBoundary = 16;

 private:
  CudaBackend& backend_;
  std::size_t room_, used_ = 0;
  PinnedMemory pinned_;
};

}  // namespace

std::unique_ptr<Drain> CudaBackend::plan_drain(std::size_t floats, std::size_t pieces) {
  return std::make_unique<CudaDrain>(*this, floats + pieces * CudaDrain::kBoundary);
}

}  // namespace seng::cuda
