#include "actors/engine/cpu/batch_norm_samples.h"
#include "actors/engine/cpu/cpu_backend.h"

namespace seng::cpu {
namespace {

using dnnl::normalization_flags;

ChannelPlaces places_of(const dnnl::memory::desc& layout) {
  const dnnl_memory_desc_t& d = layout.data;
  const dnnl_blocking_desc_t& b = d.format_desc.blocking;
  SENG_CHECK(d.ndims == 4 && d.format_kind == dnnl_blocked, "a layout of images");
  SENG_CHECK(b.inner_nblks == 0 || (b.inner_nblks == 1 && b.inner_idxs[0] == 1), "in blocks of channels");
  SENG_CHECK(d.dims[2] == 1 || d.dims[3] == 1 || b.strides[2] == b.strides[3] * d.dims[3], "without gaps");
  ChannelPlaces places;
  places.channels = std::size_t(d.dims[1]);
  places.positions = std::size_t(d.dims[2] * d.dims[3]);
  places.sample = std::size_t(b.strides[0]);
  places.next_block = std::size_t(b.strides[1]);
  places.position = std::size_t(d.dims[3] > 1 ? b.strides[3] : b.strides[2]);
  if (b.inner_nblks == 1) {
    places.block = std::size_t(b.inner_blks[0]);
  } else if (b.strides[1] == 1 && places.positions > 1) {
    places.block = places.channels;
  }
  return places;
}

class OnednnBatchNorm final : public BatchNorm {
 public:
  OnednnBatchNorm(CpuBackend& backend, const BatchNormPlan& plan)
      : shape_(plan.layout->shape()),
        places_(places_of(desc_of(plan.layout))),
        epsilon_(plan.epsilon),
        relu_(plan.relu) {
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

  void sample_gradients(int samples, const float* x, const float* dy, const float* gamma, const float* beta,
                        const float* mean, const float* variance, float* out) override {
    batch_norm_sample_gradients(places_, samples, x, dy, {mean, variance, gamma, beta, epsilon_, relu_}, out);
  }

  void statistics(const float* mean, const float* variance, float* out) override {
    const double count = double(shape_.n) * shape_.h * shape_.w;
    for (int c = 0; c < shape_.c; ++c) {
      out[c] = mean[c];
      out[shape_.c + c] = static_cast<float>(variance[c] * (count / (count - 1)));
    }
  }

 private:
  TensorShape shape_;
  ChannelPlaces places_;
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
