#include <algorithm>
#include <cmath>
#include <cstring>

#include "actors/engine/cuda/cuda_backend.h"
#include "actors/engine/cuda/resident_kernels.h"

namespace seng::cuda {
namespace {

class CudaResidentState final : public ResidentState {
 public:
  CudaResidentState(CudaBackend& backend, const ResidentPlan& plan)
      : backend_(backend), plan_(plan), gradients_(backend), statistics_runs_(backend) {
    for (const ResidentBlock& block : plan.blocks) {
      gradients_.add(block.gradient, block.offset, block.count);
      statistics_runs_.add(block.statistics, block.statistics_offset, block.statistics_count);
      parameter_count_ += block.count;
      statistics_count_ += block.statistics_count;
    }
    gradients_.settle();
    statistics_runs_.settle();
    weights_ = floats(parameter_count_);
    momentum_ = floats(parameter_count_);
    running_ = floats(statistics_count_);
    directions_ = floats(plan.gradients);
    const std::size_t runs = gradients_.count();
    parts_ = floats(3 * runs);
    found_ = static_cast<std::int32_t*>(
        backend.allocate((runs + statistics_runs_.count()) * sizeof(std::int32_t)));
    told_.resize(runs);
  }

  void put(std::span<const float> parameters, std::span<const float> momentum,
           std::span<const float> statistics) override {
    check(parameters.size(), momentum.size(), statistics.size());
    backend_.enter();
    backend_.upload(parameters.data(), weights_, parameters.size_bytes());
    backend_.upload(momentum.data(), momentum_, momentum.size_bytes());
    backend_.upload(statistics.data(), running_, statistics.size_bytes());
  }
  void get(std::span<float> parameters, std::span<float> momentum, std::span<float> statistics) override {
    check(parameters.size(), momentum.size(), statistics.size());
    backend_.enter();
    fetch(weights_, parameters);
    fetch(momentum_, momentum);
    fetch(running_, statistics);
  }
  const float* parameters() const override { return weights_; }
  const float* statistics() const override { return running_; }

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
    if (statistics_runs_.count() > 0)
      SENG_CUDA_LAUNCH(launch_find_not_finite(stream(), means, statistics_runs_.there(),
                                              statistics_runs_.count(), found_ + gradients_.count()));
    const std::size_t count = gradients_.count() + statistics_runs_.count();
    // A word is a word; the view multiplies by nothing.
    const float* words = backend_.host_view(reinterpret_cast<const float*>(found_), count, 0, 1);
    std::vector<std::int32_t> found(count);
    std::memcpy(found.data(), words, count * sizeof(std::int32_t));
    return std::ranges::all_of(found, [](std::int32_t each) { return each == 0; });
  }

  void update(const UpdateCoefficients& coefficients, const float* directions, const float* means) override {
    SENG_CUDA_LAUNCH(launch_momentum_update(stream(), coefficients, directions, gradients_.there(),
                                            gradients_.count(), momentum_, weights_));
    if (statistics_runs_.count() > 0)
      SENG_CUDA_LAUNCH(launch_running_statistics(stream(), means, statistics_runs_.there(),
                                                 statistics_runs_.count(), running_));
  }

 private:
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

  cudaStream_t stream() const { return backend_.stream(); }
  float* floats(std::size_t count) { return static_cast<float*>(backend_.allocate(count * sizeof(float))); }
  void fetch(const float* from, std::span<float> to) {
    if (to.empty()) return;
    std::ranges::copy_n(backend_.host_view(from, to.size(), 0, 1), std::ptrdiff_t(to.size()), to.begin());
  }
  void check(std::size_t parameters, std::size_t momentum, std::size_t statistics) const {
    SENG_CHECK(
        parameters == parameter_count_ && momentum == parameter_count_ && statistics == statistics_count_,
        "the flat arrays' sizes");
  }

  CudaBackend& backend_;
  const ResidentPlan plan_;
  Runs gradients_, statistics_runs_;
  std::size_t parameter_count_ = 0, statistics_count_ = 0;
  float *weights_ = nullptr, *momentum_ = nullptr, *running_ = nullptr, *directions_ = nullptr;
  float* parts_ = nullptr;
  std::int32_t* found_ = nullptr;
  std::vector<DotParts> told_;
};

}  // namespace

std::unique_ptr<ResidentState> CudaBackend::plan_resident_state(const ResidentPlan& plan) {
  return std::make_unique<CudaResidentState>(*this, plan);
}

}  // namespace seng::cuda
