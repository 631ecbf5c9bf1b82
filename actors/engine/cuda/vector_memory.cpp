#include "actors/engine/vector_memory.h"

#include "actors/engine/cuda/cuda_backend.h"

namespace seng::cuda {
namespace {

// On a stream of its own. A thread that has not touched the device yet is brought to it first.
class CudaVectorMemory final : public VectorMemory {
 public:
  CudaVectorMemory() : stream_(make_stream()) {}

  Memory where() const override { return Memory::kDevice; }
  float* allocate(std::size_t count) override {
    enter();
    return static_cast<float*>(make_device_memory(count * sizeof(float)).release());
  }
  // What a lost device says is for whoever asks it for more.
  void free(float* memory) noexcept override {
    (void)cudaSetDevice(0);
    (void)cudaStreamSynchronize(stream_.get());
    (void)cudaFree(memory);
  }
  void copy(const float* from, float* to, std::size_t count) override {
    enter();
    SENG_CUDA(cudaMemcpyAsync(to, from, count * sizeof(float), cudaMemcpyDeviceToDevice, stream_.get()));
  }
  void clear(float* memory, std::size_t count) override {
    enter();
    SENG_CUDA(cudaMemsetAsync(memory, 0, count * sizeof(float), stream_.get()));
  }
  void add(const float* left, const float* right, float* sum, std::size_t count) override {
    enter();
    SENG_CUDA_LAUNCH(launch_add(stream_.get(), Element::kF32, left, right, sum, count, false));
  }
  void wait() override {
    enter();
    SENG_CUDA(cudaStreamSynchronize(stream_.get()));
  }

 private:
  static void enter() { SENG_CUDA(cudaSetDevice(0)); }

  StreamHandle stream_;
};

}  // namespace

std::shared_ptr<VectorMemory> CudaBackend::make_vector_memory() {
  return std::make_shared<CudaVectorMemory>();
}

}  // namespace seng::cuda
