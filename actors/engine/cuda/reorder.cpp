#include <algorithm>

#include "actors/engine/cuda/cuda_backend.h"

namespace seng::cuda {
namespace {

class CudaReorder final : public Reorder {
 public:
  CudaReorder(CudaBackend& backend, Extents from, Extents to, int samples)
      : backend_(backend), from_(from), to_(to) {
    from_.n = to_.n = std::min(samples, from.n);
  }

  void run(const float* from, float* to) override {
    const int channels = from_.c, positions = static_cast<int>(from_.positions());
    const cudaStream_t stream = backend_.stream();
    const Elements source{from, from_.element};
    if (from_.channels_last == to_.channels_last && from_.element == to_.element) {
      SENG_CUDA(cudaMemcpyAsync(to, from, from_.count() * bytes_of(from_.element), cudaMemcpyDeviceToDevice,
                                stream));
    } else if (from_.channels_last == to_.channels_last) {
      SENG_CUDA_LAUNCH(launch_convert(stream, source, to, to_.element, from_.count()));
    } else {
      const int rows = from_.channels_last ? positions : channels;
      const int columns = from_.channels_last ? channels : positions;
      SENG_CUDA_LAUNCH(launch_transpose(stream, source, to, to_.element, from_.n, rows, columns));
    }
  }

 private:
  CudaBackend& backend_;
  Extents from_, to_;
};

}  // namespace

std::unique_ptr<Reorder> CudaBackend::plan_reorder(const LayoutPtr& from, const LayoutPtr& to, int samples) {
  SENG_CHECK(from->shape() == to->shape(), "a reorder between two layouts of one shape");
  return std::make_unique<CudaReorder>(*this, extents_of(from), extents_of(to), samples);
}

}  // namespace seng::cuda
