// The CPU's backend: oneDNN kernels on one thread, with its own memory and one scratch area for all of them.
#pragma once

#include <array>
#include <initializer_list>
#include <memory>
#include <utility>
#include <vector>

#include <oneapi/dnnl/dnnl.hpp>

#include "actors/engine/backend.h"

namespace seng::cpu {

const dnnl::engine& onednn_engine();

// Runs a call of oneDNN; its failure becomes a VendorError that names `what`.
template <class Call>
auto checked(const char* what, Call&& call) {
  try {
    return call();
  } catch (const dnnl::error& e) {
    throw VendorError(std::string("oneDNN ") + what + ": " + e.what());
  }
}

class OnednnLayout final : public Layout {
 public:
  explicit OnednnLayout(dnnl::memory::desc desc) : desc_(std::move(desc)) {}
  TensorShape shape() const override;
  std::size_t bytes() const override { return desc_.get_size(); }
  bool plain() const override;
  bool same(const Layout& other) const override;
  const dnnl::memory::desc& desc() const { return desc_; }

 private:
  dnnl::memory::desc desc_;
};

const dnnl::memory::desc& desc_of(const LayoutPtr& layout);
LayoutPtr layout_of(const dnnl::memory::desc& desc);
dnnl::memory::desc vector_desc(int count);  // [count]
dnnl::primitive_attr user_scratchpad();

class CpuBackend final : public Backend {
 public:
  CpuBackend();
  ~CpuBackend() override;

  Device device() const override { return Device::kCpu; }
  std::string device_name() const override { return "cpu"; }
  void enter() override;
  void wait() override {}
  void make_ready() override {}
  void* allocate(std::size_t bytes) override;
  std::size_t allocated_bytes() const override { return allocated_; }
  std::size_t planned_bytes() const override;
  void upload(const void* host, void* memory, std::size_t bytes, Memory of_host) override;
  std::byte* upload_area(std::size_t) override { return nullptr; }
  const float* host_view(const float* memory, std::size_t count, int view, float factor) override;

  std::unique_ptr<Recording> record(std::function<void()> calls) override;
  std::unique_ptr<Feed> plan_feed(void* memory, std::size_t bytes) override;
  std::unique_ptr<Drain> plan_drain(std::size_t, std::size_t) override { return nullptr; }

  LayoutPtr plain(TensorShape shape) override;
  std::unique_ptr<Convolution> plan_convolution(const ConvolutionPlan& plan) override;
  std::unique_ptr<Linear> plan_linear(const LinearPlan& plan) override;
  std::unique_ptr<BatchNorm> plan_batch_norm(const BatchNormPlan& plan) override;
  std::unique_ptr<Pool> plan_pool(const PoolPlan& plan) override;
  std::unique_ptr<Relu> plan_relu(const LayoutPtr& layout) override;
  std::unique_ptr<Add> plan_add(const LayoutPtr& layout, bool relu) override;
  std::unique_ptr<Dropout> plan_dropout(TensorShape shape, double probability) override;
  std::unique_ptr<CrossEntropy> plan_cross_entropy(int batch, int classes) override;
  std::unique_ptr<Sums> plan_sums(std::size_t count) override;
  std::unique_ptr<ResidentState> plan_resident_state(const ResidentPlan&) override { return nullptr; }
  std::shared_ptr<VectorMemory> make_vector_memory() override { return host_vectors(); }
  std::unique_ptr<Samples> plan_samples(const SamplesPlan& plan) override;
  std::unique_ptr<KroneckerSums> plan_kronecker_sums(const KroneckerPlan& plan) override;
  std::unique_ptr<KroneckerInverse> plan_kronecker_inverse(const KroneckerPlan& plan) override;
  std::unique_ptr<LowRankCuts> plan_low_rank_cuts(const LowRankPlan&) override { return nullptr; }
  std::unique_ptr<VectorSketch> plan_sketch(const SketchPlan& plan) override;
  std::unique_ptr<Reorder> plan_reorder(const LayoutPtr& from, const LayoutPtr& to, int samples) override;

  // Space that a kernel uses while it runs (slot 0: oneDNN's own, 1: between two kernels of one call).
  // Reserved while planning; the address is settled when a kernel first asks for it, and moves only if more
  // is reserved later.
  static constexpr int kKernelSlot = 0, kBetweenSlot = 1;
  void reserve(int slot, std::size_t bytes);
  void* scratch(int slot);
  dnnl_stream_t stream() const { return stream_.get(); }

 private:
  struct Scratch {
    std::size_t needed = 0, held = 0;
    void* memory = nullptr;
  };
  struct Allocation {
    void* memory;
    std::size_t bytes;
  };

  void release(void* memory);

  dnnl::stream stream_;
  Scratch scratch_[2];
  std::vector<Allocation> allocations_;
  std::array<std::vector<float>, kViews> views_;  // of what is multiplied
  std::size_t allocated_ = 0;
};

// A planned primitive with its argument list, built once. run() takes the arguments' memory in the same
// order.
class Kernel {
 public:
  using Argument = std::pair<int, dnnl::memory::desc>;  // DNNL_ARG_*, its layout

  Kernel() = default;
  // An argument whose layout is empty (a workspace that is not needed) is taken by run() and ignored.
  // `primitive` was created with user_scratchpad(); `scratchpad` is its scratchpad_desc().
  Kernel(CpuBackend& backend, dnnl::primitive primitive, const dnnl::memory::desc& scratchpad,
         std::initializer_list<Argument> arguments);
  template <class PrimitiveDesc>
  Kernel(CpuBackend& backend, const PrimitiveDesc& pd, std::initializer_list<Argument> arguments)
      : Kernel(backend, dnnl::primitive(pd.get()), pd.scratchpad_desc(), arguments) {}

  bool planned() const { return backend_ != nullptr; }
  void run(std::initializer_list<const void*> memory);

 private:
  void bind(std::size_t argument, const void* memory);

  CpuBackend* backend_ = nullptr;
  dnnl::primitive primitive_;
  std::vector<dnnl::memory> memories_;
  std::vector<const void*> bound_;
  std::vector<dnnl_exec_arg_t> arguments_;
  bool scratchpad_ = false;  // the last argument
};

}  // namespace seng::cpu
