#include "actors/engine/cpu/cpu_backend.h"

namespace seng::cpu {
namespace {

using dnnl::algorithm;
using dnnl::memory;

// oneDNN's own choice (convolution_auto) takes Winograd even for a handful of channels, which it pads to 16:
// eight times slower than direct for one channel. A rule, not a timing, so that every actor chooses alike.
algorithm choose_algorithm(const ConvolutionPlan& plan) {
  const ConvolutionGeometry& g = plan.geometry;
  const bool winograd = !plan.direct && g.kernel_h == 3 && g.kernel_w == 3 && g.stride == 1 &&
                        g.channels_in >= 16 && g.channels_out >= 16;
  return winograd ? algorithm::convolution_auto : algorithm::convolution_direct;
}

class OnednnConvolution final : public Convolution {
 public:
  OnednnConvolution(CpuBackend& backend, const ConvolutionPlan& plan) : backend_(backend), plan_(plan) {
    const ConvolutionGeometry& g = plan.geometry;
    const auto any = memory::format_tag::any;
    const auto f32 = memory::data_type::f32;
    const memory::desc x({plan.batch, g.channels_in, g.height_in, g.width_in}, f32, any);
    const memory::desc y({plan.batch, g.channels_out, g.height_out, g.width_out}, f32, any);
    plain_ =
        memory::desc({g.channels_out, g.channels_in, g.kernel_h, g.kernel_w}, f32, memory::format_tag::oihw);
    const memory::desc w(plain_.dims(), f32, any);
    const memory::desc b = plan.bias ? vector_desc(g.channels_out) : memory::desc();
    const memory::dims stride{g.stride, g.stride}, padding{g.padding, g.padding};
    const algorithm chosen = choose_algorithm(plan);

    const dnnl::convolution_forward::primitive_desc forward(
        {dnnl::prop_kind::forward_training, chosen, x, w, b, y, stride, padding, padding}, user_scratchpad(),
        onednn_engine());
    x_ = forward.src_desc();
    y_ = forward.dst_desc();
    forward_weights_ = forward.weights_desc();
    forward_ = plan.bias
                   ? Kernel(backend, forward,
                            {{DNNL_ARG_SRC, x_},
                             {DNNL_ARG_WEIGHTS, forward_weights_},
                             {DNNL_ARG_BIAS, b},
                             {DNNL_ARG_DST, y_}})
                   : Kernel(backend, forward,
                            {{DNNL_ARG_SRC, x_}, {DNNL_ARG_WEIGHTS, forward_weights_}, {DNNL_ARG_DST, y_}});
    pack_forward_ = weights_reorder(plain_, forward_weights_);
    if (!plan.training) return;
    if (plan.input_gradient) {
      plan_backward_data(
          {{chosen, x_, w, y_, stride, padding, padding}, user_scratchpad(), onednn_engine(), forward});
    }
    plan_backward_weights(
        {{chosen, x_, w, b, y_, stride, padding, padding}, user_scratchpad(), onednn_engine(), forward});
  }

  LayoutPtr input() const override { return layout_of(x_); }
  LayoutPtr output() const override { return layout_of(y_); }

  std::size_t packed_bytes() const override {
    return rounded(forward_weights_) + (pack_backward_.planned() ? rounded(backward_weights_) : 0);
  }

  void pack(const float* weight, float* packed) override {
    pack_forward_.run({weight, packed});
    if (pack_backward_.planned()) pack_backward_.run({weight, backward_packed(packed)});
  }

  void forward(const float* x, const float* packed, const float* bias, float* y) override {
    plan_.bias ? forward_.run({x, packed, bias, y}) : forward_.run({x, packed, y});
  }

  void backward_data(const float* dy, const float* packed, float* dx) override {
    backward_data_.run({dy, pack_backward_.planned() ? backward_packed(packed) : packed, dx});
  }

  void backward_weights(const float* x, const float* dy, float* weight_gradient,
                        float* bias_gradient) override {
    float* blocked =
        unpack_.planned() ? static_cast<float*>(backend_.scratch(CpuBackend::kBetweenSlot)) : weight_gradient;
    plan_.bias ? backward_filter_.run({x, dy, blocked, bias_gradient})
               : backward_filter_.run({x, dy, blocked});
    if (unpack_.planned()) unpack_.run({blocked, weight_gradient});
  }

 private:
  static std::size_t rounded(const memory::desc& desc) { return (desc.get_size() + 63) / 64 * 64; }

  template <class Pointer>
  Pointer backward_packed(Pointer packed) const {
    return packed + rounded(forward_weights_) / sizeof(float);
  }

  Kernel weights_reorder(const memory::desc& from, const memory::desc& to) {
    const dnnl::reorder::primitive_desc pd(onednn_engine(), from, onednn_engine(), to, user_scratchpad());
    return Kernel(backend_, pd, {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}});
  }

  void plan_backward_data(const dnnl::convolution_backward_data::primitive_desc& pd) {
    backward_weights_ = pd.weights_desc();
    backward_data_ =
        Kernel(backend_, pd,
               {{DNNL_ARG_DIFF_DST, y_}, {DNNL_ARG_WEIGHTS, backward_weights_}, {DNNL_ARG_DIFF_SRC, x_}});
    if (backward_weights_ != forward_weights_) pack_backward_ = weights_reorder(plain_, backward_weights_);
  }

  void plan_backward_weights(const dnnl::convolution_backward_weights::primitive_desc& pd) {
    const memory::desc gradient = pd.diff_weights_desc();
    backward_filter_ =
        plan_.bias ? Kernel(backend_, pd,
                            {{DNNL_ARG_SRC, x_},
                             {DNNL_ARG_DIFF_DST, y_},
                             {DNNL_ARG_DIFF_WEIGHTS, gradient},
                             {DNNL_ARG_DIFF_BIAS, pd.diff_bias_desc()}})
                   : Kernel(backend_, pd,
                            {{DNNL_ARG_SRC, x_}, {DNNL_ARG_DIFF_DST, y_}, {DNNL_ARG_DIFF_WEIGHTS, gradient}});
    if (gradient == plain_) return;
    unpack_ = weights_reorder(gradient, plain_);
    backend_.reserve(CpuBackend::kBetweenSlot, gradient.get_size());
  }

  CpuBackend& backend_;
  ConvolutionPlan plan_;
  memory::desc plain_, x_, y_, forward_weights_, backward_weights_;
  Kernel forward_, backward_data_, backward_filter_;
  Kernel pack_forward_, pack_backward_, unpack_;
};

}  // namespace

std::unique_ptr<Convolution> CpuBackend::plan_convolution(const ConvolutionPlan& plan) {
  return checked("convolution", [&] { return std::make_unique<OnednnConvolution>(*this, plan); });
}

}  // namespace seng::cpu
