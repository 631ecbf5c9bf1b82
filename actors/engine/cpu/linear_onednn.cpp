#include "actors/engine/cpu/cpu_backend.h"

namespace seng::cpu {
namespace {

using dnnl::memory;

// Plain layouts throughout: oneDNN's packed ones win a third of the forward pass and lose it again on the way
// back and on repacking the weights of every step.
class OnednnLinear final : public Linear {
 public:
  OnednnLinear(CpuBackend& backend, const LinearPlan& plan) : bias_(plan.bias) {
    const auto f32 = memory::data_type::f32;
    const auto ab = memory::format_tag::ab;
    const memory::desc x({plan.batch, plan.in}, f32, ab), w({plan.out, plan.in}, f32, ab);
    const memory::desc y({plan.batch, plan.out}, f32, ab);
    const memory::desc b = plan.bias ? vector_desc(plan.out) : memory::desc();
    const auto attributes = user_scratchpad();
    const dnnl::inner_product_forward::primitive_desc forward({dnnl::prop_kind::forward_training, x, w, b, y},
                                                              attributes, onednn_engine());
    forward_ = plan.bias
                   ? Kernel(backend, forward,
                            {{DNNL_ARG_SRC, x}, {DNNL_ARG_WEIGHTS, w}, {DNNL_ARG_BIAS, b}, {DNNL_ARG_DST, y}})
                   : Kernel(backend, forward, {{DNNL_ARG_SRC, x}, {DNNL_ARG_WEIGHTS, w}, {DNNL_ARG_DST, y}});
    if (!plan.training) return;
    if (plan.input_gradient) {
      const dnnl::inner_product_backward_data::primitive_desc data({x, w, y}, attributes, onednn_engine(),
                                                                   forward);
      data_ = Kernel(backend, data, {{DNNL_ARG_DIFF_DST, y}, {DNNL_ARG_WEIGHTS, w}, {DNNL_ARG_DIFF_SRC, x}});
    }
    const dnnl::inner_product_backward_weights::primitive_desc weights({x, w, b, y}, attributes,
                                                                       onednn_engine(), forward);
    weights_ = plan.bias ? Kernel(backend, weights,
                                  {{DNNL_ARG_SRC, x},
                                   {DNNL_ARG_DIFF_DST, y},
                                   {DNNL_ARG_DIFF_WEIGHTS, w},
                                   {DNNL_ARG_DIFF_BIAS, b}})
                         : Kernel(backend, weights,
                                  {{DNNL_ARG_SRC, x}, {DNNL_ARG_DIFF_DST, y}, {DNNL_ARG_DIFF_WEIGHTS, w}});
  }

  void forward(const float* x, const float* weight, const float* bias, float* y) override {
    bias_ ? forward_.run({x, weight, bias, y}) : forward_.run({x, weight, y});
  }

  void backward_data(const float* dy, const float* weight, float* dx) override {
    data_.run({dy, weight, dx});
  }

  void backward_weights(const float* x, const float* dy, float* weight_gradient,
                        float* bias_gradient) override {
    bias_ ? weights_.run({x, dy, weight_gradient, bias_gradient}) : weights_.run({x, dy, weight_gradient});
  }

 private:
  bool bias_;
  Kernel forward_, data_, weights_;
};

}  // namespace

std::unique_ptr<Linear> CpuBackend::plan_linear(const LinearPlan& plan) {
  return checked("inner product", [&] { return std::make_unique<OnednnLinear>(*this, plan); });
}

}  // namespace seng::cpu
