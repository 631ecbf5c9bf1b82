#include <algorithm>
#include <cmath>
#include <cstring>

#include "actors/engine/cuda/cuda_backend.h"
#include "actors/engine/cuda/resident_kernels.h"

namespace seng::cuda {
namespace {

// Runs of the blocks, of at most kDotFloats.
class Runs {
 public:
  explicit Runs(CudaBackend& backend) : backend_(backend) {}
  void add(std::size_t place, std::size_t offset, std::size_t count) {
    for (std::size_t at = 0; at < count; at += kDotFloats)
      runs_.push_back(
          {place + at, offset + at, static_cast<std::uint32_t>(std::min(kDotFloats, count - at))});
  }
  void settle() {
    const std::size_t bytes = runs_.size() * sizeof(ResidentRun);
    there_ = static_cast<ResidentRun*>(backend_.allocate(bytes));
    backend_.upload(runs_.data(), there_, bytes);
  }
  std::size_t count() const { return runs_.size(); }
  const ResidentRun* there() const { return there_; }

 private:
  CudaBackend& backend_;
  std::vector<ResidentRun> runs_;
  ResidentRun* there_ = nullptr;
};

// The flat arrays.
struct FlatArrays {
  float *weights = nullptr, *momentum = nullptr, *running = nullptr;
};

class CudaResidentVectors final : public ResidentVectors {
 public:
  CudaResidentVectors(CudaBackend& backend, const FlatArrays& arrays, const ResidentPlan& plan)
      : backend_(backend), arrays_(arrays), gradients_(backend), statistics_(backend) {
    for (const ResidentBlock& block : plan.blocks) {
      gradients_.add(block.gradient, block.offset, block.count);
      statistics_.add(block.statistics, block.statistics_offset, block.statistics_count);
    }
    gradients_.settle();
    statistics_.settle();
    const std::size_t runs = gradients_.count();
    parts_ = static_cast<float*>(backend.allocate(3 * runs * sizeof(float)));
    found_ =
        static_cast<std::int32_t*>(backend.allocate((runs + statistics_.count()) * sizeof(std::int32_t)));
    told_.resize(runs);
  }

  std::span<const DotParts> dots(const float* gradients, const float* directions) override {
    SENG_CUDA_LAUNCH(
        launch_dot_parts(stream(), gradients, directions, gradients_.there(), gradients_.count(), parts_));
    const float* parts = backend_.host_view(parts_, 3 * told_.size(), 0, 1);
    for (std::size_t run = 0; run < told_.size(); ++run)
      told_[run] = {parts[3 * run], parts[3 * run + 1], parts[3 * run + 2]};
    return told_;
  }

  bool finite(const float* directions, const float* means) override {
    SENG_CUDA_LAUNCH(
        launch_find_not_finite(stream(), directions, gradients_.there(), gradients_.count(), found_));
    if (statistics_.count() > 0)
      SENG_CUDA_LAUNCH(launch_find_not_finite(stream(), means, statistics_.there(), statistics_.count(),
                                              found_ + gradients_.count()));
    const std::size_t count = gradients_.count() + statistics_.count();
    // A word is a word; the view multiplies by nothing.
    const float* words = backend_.host_view(reinterpret_cast<const float*>(found_), count, 0, 1);
    std::vector<std::int32_t> found(count);
    std::memcpy(found.data(), words, count * sizeof(std::int32_t));
    return std::ranges::all_of(found, [](std::int32_t each) { return each == 0; });
  }

  void update(const UpdateCoefficients& coefficients, const float* directions, const float* means) override {
    SENG_CUDA_LAUNCH(launch_momentum_update(stream(), coefficients, directions, gradients_.there(),
                                            gradients_.count(), arrays_.momentum, arrays_.weights));
    if (statistics_.count() > 0)
      SENG_CUDA_LAUNCH(launch_running_statistics(stream(), means, statistics_.there(), statistics_.count(),
                                                 arrays_.running));
  }

 private:
  cudaStream_t stream() const { return backend_.stream(); }

  CudaBackend& backend_;
  const FlatArrays arrays_;
  Runs gradients_, statistics_;
  float* parts_ = nullptr;
  std::int32_t* found_ = nullptr;
  std::vector<DotParts> told_;
};

class CudaResidentState final : public ResidentState {
 public:
  CudaResidentState(CudaBackend& backend, const ResidentPlan& plan) : backend_(backend), plan_(plan) {
    for (const ResidentBlock& block : plan.blocks) {
      parameter_count_ += block.count;
      statistics_count_ += block.statistics_count;
    }
    arrays_ = {floats(parameter_count_), floats(parameter_count_), floats(statistics_count_)};
    directions_ = floats(plan.gradients);
  }

  void put(std::span<const float> parameters, std::span<const float> momentum,
           std::span<const float> statistics) override {
    check(parameters.size(), momentum.size(), statistics.size());
    backend_.enter();
    backend_.upload(parameters.data(), arrays_.weights, parameters.size_bytes());
    backend_.upload(momentum.data(), arrays_.momentum, momentum.size_bytes());
    backend_.upload(statistics.data(), arrays_.running, statistics.size_bytes());
  }
  void get(std::span<float> parameters, std::span<float> momentum, std::span<float> statistics) override {
    check(parameters.size(), momentum.size(), statistics.size());
    backend_.enter();
    fetch(arrays_.weights, parameters);
    fetch(arrays_.momentum, momentum);
    fetch(arrays_.running, statistics);
  }
  const float* parameters() const override { return arrays_.weights; }
  const float* statistics() const override { return arrays_.running; }
  const ResidentPlan& plan() const override { return plan_; }
  std::unique_ptr<ResidentVectors> plan_vectors(const ResidentPlan& plan) override {
    return std::make_unique<CudaResidentVectors>(backend_, arrays_, plan);
  }

  float* make_vector() override { return floats(plan_.floats); }
  void divide(float* sum, float batch, float micros) override {
    SENG_CUDA_LAUNCH(launch_divide(stream(), sum, batch, plan_.gradients));
    if (plan_.floats > plan_.gradients)
      SENG_CUDA_LAUNCH(
          launch_divide(stream(), sum + plan_.gradients, micros, plan_.floats - plan_.gradients));
  }
  float* directions() override { return directions_; }
  void scale(const float* g, float factor, float* d, std::size_t count) override {
    SENG_CUDA_LAUNCH(launch_product(stream(), g, factor, d, count));
  }
  void copy(const float* from, float* to, std::size_t count) override {
    SENG_CUDA(cudaMemcpyAsync(to, from, count * sizeof(float), cudaMemcpyDeviceToDevice, stream()));
  }
  const float* view(const float* memory, std::size_t count) override {
    return backend_.host_view(memory, count, 0, 1);
  }

 private:
  cudaStream_t stream() const { return backend_.stream(); }
  float* floats(std::size_t count) { return static_cast<float*>(backend_.allocate(count * sizeof(float))); }
  void fetch(const float* from, std::span<float> to) {
    if (to.empty()) return;
    std::ranges::copy_n(view(from, to.size()), std::ptrdiff_t(to.size()), to.begin());
  }
  void check(std::size_t parameters, std::size_t momentum, std::size_t statistics) const {
    SENG_CHECK(
        parameters == parameter_count_ && momentum == parameter_count_ && statistics == statistics_count_,
        "the flat arrays' sizes");
  }

  CudaBackend& backend_;
  const ResidentPlan plan_;
  std::size_t parameter_count_ = 0, statistics_count_ = 0;
  FlatArrays arrays_;
  float* directions_ = nullptr;
};

}  // namespace

std::unique_ptr<ResidentState> CudaBackend::plan_resident_state(const ResidentPlan& plan) {
  return std::make_unique<CudaResidentState>(*this, plan);
}

}  // namespace seng::cuda
