#include "actors/engine/cuda/cuda_backend.h"

namespace seng::cuda {
namespace {

// Own kernels: cuDNN's batch norm gives 1/sqrt(variance + epsilon) or an unbiased variance where the contract
// wants the biased one, and does a relu along in half precision only.
class CudaBatchNorm final : public BatchNorm {
 public:
  CudaBatchNorm(CudaBackend& backend, const BatchNormPlan& plan)
      : backend_(backend), plan_(plan), extents_(extents_of(plan.layout)) {
    const std::size_t partial = plan.training ? 2 * RowChunks(extents_.rows()).count() * extents_.c : 0;
    backend.reserve(CudaBackend::kBetweenSlot, std::max<std::size_t>(partial, extents_.c) * sizeof(float));
  }

  std::size_t workspace_bytes() const override {
    return plan_.training ? 2 * extents_.c * sizeof(float) : 0;  // BatchNormForward::kept
  }

  void forward(const float* x, const float* gamma, const float* beta, float* mean, float* variance,
               void* workspace, float* y) override {
    const BatchNormForward args{x, gamma,         beta,      mean, variance, static_cast<float*>(workspace),
                                y, plan_.epsilon, plan_.relu};
    SENG_CUDA_LAUNCH(launch_batch_norm_forward(backend_.stream(), args, extents_, between()));
  }

  void infer(const float* x, const float* gamma, const float* beta, const float* mean, const float* variance,
             float* y) override {
    const BatchNormInfer args{x, gamma, beta, mean, variance, between(), y, plan_.epsilon, plan_.relu};
    SENG_CUDA_LAUNCH(launch_batch_norm_infer(backend_.stream(), args, extents_));
  }

  void backward(const float* x, const float* dy, const float*, const float* mean, const float* variance,
                const void* workspace, float* dx, float* gamma_gradient, float* beta_gradient) override {
    const BatchNormBackward args{x,
                                 dy,
                                 mean,
                                 variance,
                                 static_cast<const float*>(workspace),
                                 dx,
                                 gamma_gradient,
                                 beta_gradient,
                                 plan_.epsilon,
                                 plan_.relu};
    SENG_CUDA_LAUNCH(launch_batch_norm_backward(backend_.stream(), args, extents_, between()));
  }

  void sample_gradients(int samples, const float* x, const float* dy, const float* gamma, const float* beta,
                        const float* mean, const float* variance, float* out) override {
    const BatchNormSamples args{x, dy, gamma, beta, mean, variance, out, plan_.epsilon, plan_.relu};
    SENG_CUDA_LAUNCH(launch_batch_norm_samples(backend_.stream(), args, extents_, samples));
  }

  void statistics(const float* mean, const float* variance, float* out) override {
    const auto count = static_cast<double>(extents_.rows());
    SENG_CUDA_LAUNCH(launch_batch_norm_statistics(backend_.stream(), mean, variance, count / (count - 1),
                                                  extents_.c, out));
  }

 private:
  float* between() { return backend_.scratch_floats(CudaBackend::kBetweenSlot); }

  CudaBackend& backend_;
  BatchNormPlan plan_;
  Extents extents_;
};

}  // namespace

std::unique_ptr<BatchNorm> CudaBackend::plan_batch_norm(const BatchNormPlan& plan) {
  return std::make_unique<CudaBatchNorm>(*this, plan);
}

}  // namespace seng::cuda
