#include "actors/engine/cuda/cuda_backend.h"

namespace seng::cuda {
namespace {

// Own kernels: cuDNN's backward passes want x and y again, and its plain max pooling adds with atomics.
class CudaPool final : public Pool {
 public:
  CudaPool(CudaBackend& backend, const PoolPlan& plan)
      : backend_(backend),
        plan_(plan),
        in_(extents_of(plan.input)),
        window_{plan.kernel_h, plan.kernel_w, plan.stride, plan.padding} {
    if (plan.kind == PoolKind::kMax && plan.kernel_h * plan.kernel_w > 0xffff)
      throw VendorError("max pooling on the cuda device takes windows of up to 65535 places");
    const auto size = [&](int extent, int kernel) {
      return (extent + 2 * plan.padding - kernel) / plan.stride + 1;
    };
    output_ = make_layout({in_.n, in_.c, size(in_.h, plan.kernel_h), size(in_.w, plan.kernel_w)},
                          in_.channels_last, in_.element);
    out_ = extents_of(output_);
  }

  LayoutPtr output() const override { return output_; }
  std::size_t workspace_bytes() const override {
    return plan_.training && plan_.kind == PoolKind::kMax ? out_.count() * sizeof(std::uint16_t) : 0;
  }

  void forward(const float* x, void* workspace, float* y) override {
    const cudaStream_t stream = backend_.stream();
    if (plan_.kind == PoolKind::kMax) {
      auto* winner = plan_.training ? static_cast<std::uint16_t*>(workspace) : nullptr;
      SENG_CUDA_LAUNCH(launch_max_pool(stream, x, winner, y, in_, out_, window_));
    } else {
      SENG_CUDA_LAUNCH(launch_average_pool(stream, x, y, in_, out_, window_));
    }
  }

  void backward(const float* dy, const void* workspace, float* dx) override {
    const cudaStream_t stream = backend_.stream();
    if (plan_.kind == PoolKind::kMax) {
      const auto* winner = static_cast<const std::uint16_t*>(workspace);
      SENG_CUDA_LAUNCH(launch_max_pool_backward(stream, dy, winner, dx, in_, out_, window_));
    } else {
      SENG_CUDA_LAUNCH(launch_average_pool_backward(stream, dy, dx, in_, out_, window_));
    }
  }

 private:
  CudaBackend& backend_;
  PoolPlan plan_;
  Extents in_, out_;
  PoolWindow window_;
  LayoutPtr output_;
};

}  // namespace

std::unique_ptr<Pool> CudaBackend::plan_pool(const PoolPlan& plan) {
  return std::make_unique<CudaPool>(*this, plan);
}

}  // namespace seng::cuda
