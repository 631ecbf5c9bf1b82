#include <cmath>

#include "actors/engine/cpu/cpu_backend.h"

namespace seng::cpu {
namespace {

using dnnl::normalization_flags;

class OnednnBatchNorm final : public BatchNorm {
 public:
  OnednnBatchNorm(CpuBackend& backend, const BatchNormPlan& plan)
      : shape_(plan.layout->shape()), epsilon_(plan.epsilon), relu_(plan.relu) {
    const auto& x = desc_of(plan.layout);
    const auto c = vector_desc(shape_.c);
    auto flags = normalization_flags::use_scale | normalization_flags::use_shift;
    if (plan.relu) flags = flags | normalization_flags::fuse_norm_relu;
    const auto attributes = user_scratchpad();

    const dnnl::batch_normalization_forward::primitive_desc infer(
        {dnnl::prop_kind::forward_inference, x, plan.epsilon, flags | normalization_flags::use_global_stats},
        attributes, onednn_engine());
    infer_ = Kernel(backend, infer,
                    {{DNNL_ARG_SRC, x},
                     {DNNL_ARG_SCALE, c},
                     {DNNL_ARG_SHIFT, c},
                     {DNNL_ARG_MEAN, c},
                     {DNNL_ARG_VARIANCE, c},
                     {DNNL_ARG_DST, x}});
    if (!plan.training) return;

    const dnnl::batch_normalization_forward::primitive_desc forward(
        {dnnl::prop_kind::forward_training, x, plan.epsilon, flags}, attributes, onednn_engine());
    const auto workspace = forward.workspace_desc();
    workspace_bytes_ = workspace.get_size();
    const dnnl::batch_normalization_backward::primitive_desc backward(
        {dnnl::prop_kind::backward, x, x, plan.epsilon, flags}, attributes, onednn_engine(), forward);
    forward_ = Kernel(backend, forward,
                      {{DNNL_ARG_SRC, x},
                       {DNNL_ARG_SCALE, c},
                       {DNNL_ARG_SHIFT, c},
                       {DNNL_ARG_MEAN, c},
                       {DNNL_ARG_VARIANCE, c},
                       {DNNL_ARG_WORKSPACE, workspace},
                       {DNNL_ARG_DST, x}});
    backward_ = Kernel(backend, backward,
                       {{DNNL_ARG_SRC, x},
                        {DNNL_ARG_DIFF_DST, x},
                        {DNNL_ARG_SCALE, c},
                        {DNNL_ARG_SHIFT, c},
                        {DNNL_ARG_MEAN, c},
                        {DNNL_ARG_VARIANCE, c},
                        {DNNL_ARG_WORKSPACE, workspace},
                        {DNNL_ARG_DIFF_SRC, x},
                        {DNNL_ARG_DIFF_SCALE, c},
                        {DNNL_ARG_DIFF_SHIFT, c}});
  }

  std::size_t workspace_bytes() const override { return workspace_bytes_; }

  void forward(const float* x, const float* gamma, const float* beta, float* mean, float* variance,
               void* workspace, float* y) override {
    forward_.run({x, gamma, beta, mean, variance, workspace, y});
  }

  void infer(const float* x, const float* gamma, const float* beta, const float* mean, const float* variance,
             float* y) override {
    infer_.run({x, gamma, beta, mean, variance, y});
  }

  void backward(const float* x, const float* dy, const float* gamma, const float* mean, const float* variance,
                const void* workspace, float* dx, float* gamma_gradient, float* beta_gradient) override {
    // oneDNN counts the shift among the inputs, and does not read it.
    backward_.run({x, dy, gamma, gamma, mean, variance, workspace, dx, gamma_gradient, beta_gradient});
  }

  void factors(int samples, float* x, float* dy, const float* y, const float* mean,
               const float* variance) override {
    const std::size_t positions = std::size_t(shape_.h) * shape_.w;
    for (int row = 0; row < samples * shape_.c; ++row) {
      const float center = mean[row % shape_.c];
      const float scale = 1.0f / std::sqrt(variance[row % shape_.c] + epsilon_);
      float* values = x + row * positions;
      for (std::size_t i = 0; i < positions; ++i) values[i] = (values[i] - center) * scale;
    }
    if (!relu_) return;
    for (std::size_t i = 0; i < std::size_t(samples) * shape_.c * positions; ++i)
      dy[i] = y[i] > 0 ? dy[i] : 0.0f;
  }

 private:
  TensorShape shape_;
  float epsilon_;
  bool relu_;
  std::size_t workspace_bytes_ = 0;
  Kernel infer_, forward_, backward_;
};

}  // namespace

std::unique_ptr<BatchNorm> CpuBackend::plan_batch_norm(const BatchNormPlan& plan) {
  return checked("batch normalization", [&] { return std::make_unique<OnednnBatchNorm>(*this, plan); });
}

}  // namespace seng::cpu
