// The GPU's backend: cuDNN convolutions, cuBLAS products, own kernels for the rest, on one stream; a second
// one takes in what passes to come will read. Tensors between convolutions lie channels last.
//
// Memory: slabs that are cut up while planning and given back with the backend; one scratch area for all
// kernels, since a stream runs one after another; four pinned areas that uploads take in turn, one that they
// take as it is, and one a host view. A step allocates nothing once each method has been called.
#pragma once

#include <array>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "actors/engine/backend.h"
#include "actors/engine/cuda/handles.h"
#include "actors/engine/cuda/kernels.h"
#include "actors/engine/cuda/layout.h"
#include "actors/engine/cuda/solver_cusolver.h"

namespace seng::cuda {

// Of what lies between layers of images, and of what is multiplied.
constexpr Element element_of(Arithmetic precision) {
  if (precision == Arithmetic::kBf16) return Element::kBf16;
  return precision == Arithmetic::kF16 ? Element::kF16 : Element::kF32;
}

class CudaBackend final : public Backend {
 public:
  // The first of the devices that the process may see (CUDA_VISIBLE_DEVICES). Throws where there is none.
  explicit CudaBackend(Arithmetic precision, ConvolutionChooser* chooser = nullptr);
  ~CudaBackend() override;

  Device device() const override { return Device::kCuda; }
  std::string device_name() const override { return name_; }
  void enter() override;
  void wait() override;
  void make_ready() override { (void)cudnn(), (void)cublas(), (void)solver(); }
  void* allocate(std::size_t bytes) override;
  std::size_t allocated_bytes() const override { return allocated_; }
  std::size_t planned_bytes() const override;
  void upload(const void* from, void* memory, std::size_t bytes, Memory of_from = Memory::kHost) override;
  std::byte* upload_area(std::size_t bytes) override;
  const float* host_view(const float* memory, std::size_t count, int view, float factor) override;

  std::unique_ptr<Recording> record(std::function<void()> calls) override;
  std::unique_ptr<Feed> plan_feed(void* memory, std::size_t bytes) override;
  std::unique_ptr<Drain> plan_drain(std::size_t floats, std::size_t pieces) override;

  LayoutPtr plain(TensorShape shape) override { return make_layout(shape, false, Element::kF32); }
  std::unique_ptr<Convolution> plan_convolution(const ConvolutionPlan& plan) override {
    return plan_convolution(plan, precision_);
  }
  // In another precision than the backend's own.
  std::unique_ptr<Convolution> plan_convolution(const ConvolutionPlan& plan, Arithmetic precision);
  std::unique_ptr<Linear> plan_linear(const LinearPlan& plan) override;
  std::unique_ptr<BatchNorm> plan_batch_norm(const BatchNormPlan& plan) override;
  std::unique_ptr<Pool> plan_pool(const PoolPlan& plan) override;
  std::unique_ptr<Relu> plan_relu(const LayoutPtr& layout) override;
  std::unique_ptr<Add> plan_add(const LayoutPtr& layout, bool relu) override;
  std::unique_ptr<Dropout> plan_dropout(TensorShape shape, double probability) override;
  std::unique_ptr<CrossEntropy> plan_cross_entropy(int batch, int classes) override;
  std::unique_ptr<Sums> plan_sums(std::size_t count) override;
  std::unique_ptr<ResidentState> plan_resident_state(const ResidentPlan& plan) override;
  std::shared_ptr<VectorMemory> make_vector_memory() override;
  std::unique_ptr<Samples> plan_samples(const SamplesPlan& plan) override;
  std::unique_ptr<KroneckerSums> plan_kronecker_sums(const KroneckerPlan& plan) override;
  std::unique_ptr<KroneckerInverse> plan_kronecker_inverse(const KroneckerPlan& plan) override;
  std::unique_ptr<LowRankCuts> plan_low_rank_cuts(const LowRankPlan& plan) override;
  std::unique_ptr<VectorSketch> plan_sketch(const SketchPlan& plan) override;
  std::unique_ptr<Reorder> plan_reorder(const LayoutPtr& from, const LayoutPtr& to, int samples) override;

  ConvolutionChooser* chooser() const { return chooser_; }  // null: none
  cudaStream_t stream() const { return stream_.get(); }
  cudaStream_t copies() const { return copies_.get(); }  // of the inputs of a pass that is to come
  cudnnHandle_t cudnn();                                 // made when first asked for
  cublasHandle_t cublas();  // likewise, with a workspace of its own, so that its results repeat
  Solver& solver();         // likewise
  Arithmetic precision() const { return precision_; }
  Element element() const { return element_of(precision_); }

  // Memory that comes and goes with refreshes: what is given back waits for the next that takes as much.
  DeviceMemory take(std::size_t bytes);
  void give_back(DeviceMemory memory, std::size_t bytes);

  // Space that a kernel, or two of one call, use while they run. Slots as on the CPU: kKernelSlot for the
  // libraries' workspaces, kBetweenSlot for what lies between two kernels.
  static constexpr int kKernelSlot = 0, kBetweenSlot = 1;
  void reserve(int slot, std::size_t bytes);  // while planning
  void* scratch(int slot);                    // moves only when more was reserved since
  std::uint64_t settle_scratch();  // makes it as large as it has to be; how often some has moved so far
  float* scratch_floats(int slot) { return static_cast<float*>(scratch(slot)); }

 private:
  struct Scratch {
    std::size_t needed = 0, held = 0;
    DeviceMemory memory;
  };
  struct Slab {
    DeviceMemory memory;
    std::size_t size = 0, used = 0;
  };
  struct Staging {
    PinnedMemory memory;
    EventHandle copied;  // the last copy out of it
  };
  struct View {
    PinnedMemory memory;
    std::size_t size = 0;
  };

  Arithmetic precision_;
  ConvolutionChooser* chooser_;
  std::string name_;
  StreamHandle stream_, copies_;
  std::vector<Slab> slabs_;
  std::size_t allocated_ = 0;
  std::multimap<std::size_t, DeviceMemory> spare_;  // by bytes
  std::array<Scratch, 2> scratch_;
  std::uint64_t scratch_moves_ = 0;
  std::array<Staging, 4> staging_;
  std::size_t next_staging_ = 0;
  Staging area_;
  std::size_t area_bytes_ = 0;
  std::array<View, kViews> views_;
  DeviceMemory cublas_workspace_;
  CudnnHandle cudnn_;
  CublasHandle cublas_;
  std::optional<Solver> solver_;
};

}  // namespace seng::cuda
