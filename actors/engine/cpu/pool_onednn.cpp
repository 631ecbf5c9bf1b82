#include "actors/engine/cpu/cpu_backend.h"
#include "actors/engine/cpu/pool_windows.h"

namespace seng::cpu {
namespace {

using dnnl::algorithm;
using dnnl::memory;

class OnednnPool final : public Pool {
 public:
  OnednnPool(CpuBackend& backend, const PoolPlan& plan) {
    const TensorShape in = plan.input->shape();
    const auto size = [&](int extent, int kernel) {
      return (extent + 2 * plan.padding - kernel) / plan.stride + 1;
    };
    const auto& x = desc_of(plan.input);
    const memory::desc any({in.n, in.c, size(in.h, plan.kernel_h), size(in.w, plan.kernel_w)},
                           memory::data_type::f32, memory::format_tag::any);
    const memory::dims stride{plan.stride, plan.stride}, kernel{plan.kernel_h, plan.kernel_w};
    const memory::dims padding{plan.padding, plan.padding};
    const auto kind =
        plan.kind == PoolKind::kMax ? algorithm::pooling_max : algorithm::pooling_avg_include_padding;
    const auto attributes = user_scratchpad();
    const auto prop = plan.training ? dnnl::prop_kind::forward_training : dnnl::prop_kind::forward_inference;
    const dnnl::pooling_forward::primitive_desc forward(
        {prop, kind, x, any, stride, kernel, padding, padding}, attributes, onednn_engine());
    y_ = forward.dst_desc();
    const memory::desc workspace = plan.training ? forward.workspace_desc() : memory::desc();
    workspace_bytes_ = workspace.get_size();
    forward_ =
        Kernel(backend, forward, {{DNNL_ARG_SRC, x}, {DNNL_ARG_WORKSPACE, workspace}, {DNNL_ARG_DST, y_}});
    if (!plan.training) return;
    const dnnl::pooling_backward::primitive_desc backward({kind, x, y_, stride, kernel, padding, padding},
                                                          attributes, onednn_engine(), forward);
    backward_ = Kernel(backend, backward,
                       {{DNNL_ARG_DIFF_DST, y_}, {DNNL_ARG_WORKSPACE, workspace}, {DNNL_ARG_DIFF_SRC, x}});
  }

  LayoutPtr output() const override { return layout_of(y_); }
  std::size_t workspace_bytes() const override { return workspace_bytes_; }
  void forward(const float* x, void* workspace, float* y) override { forward_.run({x, workspace, y}); }
  void backward(const float* dy, const void* workspace, float* dx) override {
    backward_.run({dy, workspace, dx});
  }

 private:
  memory::desc y_;
  std::size_t workspace_bytes_ = 0;
  Kernel forward_, backward_;
};

}  // namespace

std::unique_ptr<Pool> CpuBackend::plan_pool(const PoolPlan& plan) {
  if (auto pool = plan_disjoint_max_pool(plan)) return pool;
  return checked("pooling", [&] { return std::make_unique<OnednnPool>(*this, plan); });
}

}  // namespace seng::cpu
