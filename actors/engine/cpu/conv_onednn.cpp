#include <string_view>

#include "actors/engine/cpu/cpu_backend.h"

namespace seng::cpu {
namespace {

using dnnl::algorithm;
using dnnl::memory;

// Winograd's expected gain over direct convolution, forward and both backwards, on one thread. oneDNN's own
// choice (convolution_auto) is off both ways: it takes Winograd for one channel, padded to 16 (8 times
// slower), and refuses it for small batches where it wins. The form follows where the time goes: output tiles
// are 4x4, so that what sticks out of the image is wasted; transforms cost as much for few channels as for
// many; and the weights are transformed anew in every call, which needs tiles to pay for it. The constants
// fit times measured over 16-512 channels, 2x2-32x32 images and 4-64 samples (AVX-512) within some 20 %. A
// rule, not a timing, so that every actor chooses alike.
double winograd_gain(const ConvolutionPlan& plan) {
  const ConvolutionGeometry& g = plan.geometry;
  const int tile_rows = (g.height_out + 3) / 4, tile_columns = (g.width_out + 3) / 4;
  const double tiles = double(tile_rows) * tile_columns;
  const double filled = g.height_out * g.width_out / (16 * tiles);
  const double channels = 2.0 / (1.0 / g.channels_in + 1.0 / g.channels_out);
  return 2.8 * filled * channels / (channels + 32) * plan.batch * tiles / (plan.batch * tiles + 24);
}

bool prefers_winograd(const ConvolutionPlan& plan) {
  const ConvolutionGeometry& g = plan.geometry;
  const bool possible = g.kernel_h == 3 && g.kernel_w == 3 && g.stride == 1 && g.padding <= 1 &&
                        g.channels_in % 16 == 0 && g.channels_out % 16 == 0;
  return possible && !plan.direct && winograd_gain(plan) > 1.1;
}

class OnednnConvolution final : public Convolution {
 public:
  // `images`: the layout of input and output.
  OnednnConvolution(CpuBackend& backend, const ConvolutionPlan& plan, bool winograd,
                    memory::format_tag images = memory::format_tag::any)
      : backend_(backend), plan_(plan), winograd_(winograd) {
    const ConvolutionGeometry& g = plan.geometry;
    const auto any = memory::format_tag::any;
    const auto f32 = memory::data_type::f32;
    const memory::desc x({plan.batch, g.channels_in, g.height_in, g.width_in}, f32, images);
    const memory::desc y({plan.batch, g.channels_out, g.height_out, g.width_out}, f32, images);
    plain_ =
        memory::desc({g.channels_out, g.channels_in, g.kernel_h, g.kernel_w}, f32, memory::format_tag::oihw);
    const memory::desc w(plain_.dims(), f32, any);
    const memory::desc b = plan.bias ? vector_desc(g.channels_out) : memory::desc();
    const memory::dims stride{g.stride, g.stride}, padding{g.padding, g.padding};
    const algorithm chosen = winograd ? algorithm::convolution_winograd : algorithm::convolution_direct;

    const dnnl::convolution_forward::primitive_desc forward(
        {dnnl::prop_kind::forward_training, chosen, x, w, b, y, stride, padding, padding}, user_scratchpad(),
        onednn_engine());
    note(forward);
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

  bool winograd() const override { return winograd_; }
  bool reference() const override { return reference_; }

  std::size_t packed_bytes() const override {
    return rounded(forward_weights_) + (pack_backward_.planned() ? rounded(backward_weights_) : 0);
  }

  void pack(const float* weight, float* packed, Memory) override {
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

  void note(const dnnl::primitive_desc& pd) {
    reference_ = reference_ || std::string_view(pd.impl_info_str()).starts_with("ref");
  }

  void plan_backward_data(const dnnl::convolution_backward_data::primitive_desc& pd) {
    note(pd);
    backward_weights_ = pd.weights_desc();
    backward_data_ =
        Kernel(backend_, pd,
               {{DNNL_ARG_DIFF_DST, y_}, {DNNL_ARG_WEIGHTS, backward_weights_}, {DNNL_ARG_DIFF_SRC, x_}});
    if (backward_weights_ != forward_weights_) pack_backward_ = weights_reorder(plain_, backward_weights_);
  }

  void plan_backward_weights(const dnnl::convolution_backward_weights::primitive_desc& pd) {
    note(pd);
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
  bool winograd_, reference_ = false;
  memory::desc plain_, x_, y_, forward_weights_, backward_weights_;
  Kernel forward_, backward_data_, backward_filter_;
  Kernel pack_forward_, pack_backward_, unpack_;
};

}  // namespace

std::unique_ptr<Convolution> CpuBackend::plan_convolution(const ConvolutionPlan& plan) {
  if (prefers_winograd(plan)) {
    try {
      return std::make_unique<OnednnConvolution>(*this, plan, true);
    } catch (const dnnl::error& e) {
      if (e.status != dnnl_unimplemented) throw VendorError(std::string("oneDNN convolution: ") + e.what());
    }
  }
  // Left to itself, oneDNN takes layouts for some channel counts in which it has only its reference loops for
  // the backward passes: a hundred times slower.
  return checked("convolution", [&]() -> std::unique_ptr<Convolution> {
    auto first = std::make_unique<OnednnConvolution>(*this, plan, false);
    if (!first->reference()) return first;
    for (const auto images : {memory::format_tag::nhwc, memory::format_tag::nchw}) {
      auto other = std::make_unique<OnednnConvolution>(*this, plan, false, images);
      if (!other->reference()) return other;
    }
    return first;
  });
}

}  // namespace seng::cpu
