#include "actors/engine/cpu/pool_windows.h"

#include "actors/engine/cpu/cpu_backend.h"

namespace seng::cpu {
namespace {

using dnnl::memory;

constexpr int kChannels = 16;  // of a block of the layout nChw16c

struct Windows {
  std::size_t images = 0;  // samples times blocks of channels
  int rows_in = 0, columns_in = 0, rows_out = 0, columns_out = 0, kernel = 0;
};

struct Kernels {
  void (*forward)(const Windows&, const float* x, std::int8_t* places, float* y);
  void (*backward)(const Windows&, const float* dy, const std::int8_t* places, float* dx);
};

#define SENG_KERNELS_FILE "actors/engine/cpu/pool_windows_kernels.inc"
#include "actors/engine/cpu/per_instruction_set.inc"

memory::desc blocked(const TensorShape& s) {
  return {{s.n, s.c, s.h, s.w}, memory::data_type::f32, memory::format_tag::nChw16c};
}

class DisjointMaxPool final : public Pool {
 public:
  DisjointMaxPool(const TensorShape& in, const TensorShape& out, int kernel)
      : windows_{std::size_t(in.n) * ((in.c + kChannels - 1) / kChannels), in.h, in.w, out.h, out.w, kernel},
        output_(layout_of(blocked(out))) {}

  LayoutPtr output() const override { return output_; }
  std::size_t workspace_bytes() const override { return output_->bytes() / sizeof(float); }

  void forward(const float* x, void* workspace, float* y) override {
    kernels().forward(windows_, x, static_cast<std::int8_t*>(workspace), y);
  }
  void backward(const float* dy, const void* workspace, float* dx) override {
    kernels().backward(windows_, dy, static_cast<const std::int8_t*>(workspace), dx);
  }

 private:
  Windows windows_;
  LayoutPtr output_;
};

}  // namespace

std::unique_ptr<Pool> plan_disjoint_max_pool(const PoolPlan& plan) {
  const TensorShape in = plan.input->shape();
  constexpr int kLargestKernel = 11;  // places are bytes
  const bool disjoint = plan.kernel_h == plan.kernel_w && plan.kernel_h == plan.stride && plan.padding == 0;
  if (plan.kind != PoolKind::kMax || !disjoint || plan.stride > kLargestKernel) return nullptr;
  if (desc_of(plan.input) != blocked(in)) return nullptr;
  const TensorShape out{in.n, in.c, in.h / plan.stride, in.w / plan.stride};
  return std::make_unique<DisjointMaxPool>(in, out, plan.stride);
}

}  // namespace seng::cpu
