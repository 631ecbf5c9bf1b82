#include <cstring>

#include "actors/engine/cuda/cuda_backend.h"

namespace seng::cuda {
namespace {

// From the host by way of a pinned area to a landing area, on the stream of copies; from there on the
// backend's own, where it waits for the first. So the next pass's copy may come while a pass reads the
// memory.
class CudaFeed final : public Feed {
 public:
  CudaFeed(CudaBackend& backend, void* memory, std::size_t room)
      : backend_(backend),
        memory_(memory),
        room_(room),
        pinned_(make_pinned_memory(room)),
        landing_(backend.allocate(room)),
        arrived_(make_event()),
        taken_(make_event()) {
    SENG_CUDA(cudaEventRecord(arrived_.get(), backend_.copies()));
    SENG_CUDA(cudaEventRecord(taken_.get(), backend_.stream()));
  }

  ~CudaFeed() override { (void)cudaEventSynchronize(arrived_.get()); }  // the pinned area goes next

  void put(const void* host, std::size_t bytes) override {
    SENG_CHECK(bytes <= room_, "more than a feed has room for");
    SENG_CUDA(cudaEventSynchronize(arrived_.get()));  // at once, but where two are put behind each other
    std::memcpy(pinned_.get(), host, bytes);
    SENG_CUDA(cudaStreamWaitEvent(backend_.copies(), taken_.get(), 0));
    SENG_CUDA(cudaMemcpyAsync(landing_, pinned_.get(), bytes, cudaMemcpyHostToDevice, backend_.copies()));
    SENG_CUDA(cudaEventRecord(arrived_.get(), backend_.copies()));
    bytes_ = bytes;
  }

  void take() override {
    SENG_CUDA(cudaStreamWaitEvent(backend_.stream(), arrived_.get(), 0));
    SENG_CUDA(cudaMemcpyAsync(memory_, landing_, bytes_, cudaMemcpyDeviceToDevice, backend_.stream()));
    SENG_CUDA(cudaEventRecord(taken_.get(), backend_.stream()));
  }

 private:
  CudaBackend& backend_;
  void* memory_;
  std::size_t room_, bytes_ = 0;
  PinnedMemory pinned_;
  void* landing_;
  EventHandle arrived_, taken_;  // in the landing area; out of it
};

}  // namespace

std::unique_ptr<Feed> CudaBackend::plan_feed(void* memory, std::size_t bytes) {
  return std::make_unique<CudaFeed>(*this, memory, bytes);
}

}  // namespace seng::cuda
