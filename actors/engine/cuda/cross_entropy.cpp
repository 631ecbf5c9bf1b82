#include <cstring>

#include "actors/engine/cuda/cuda_backend.h"

namespace seng::cuda {
namespace {

// The samples' losses follow the kernel to the host, which adds them up in their order when they are asked
// for.
class CudaCrossEntropy final : public CrossEntropy {
 public:
  CudaCrossEntropy(CudaBackend& backend, int batch, int classes)
      : backend_(backend),
        batch_(batch),
        classes_(classes),
        results_(static_cast<std::byte*>(backend.allocate(result_bytes()))),
        on_host_(make_pinned_memory(result_bytes())) {}

  ~CudaCrossEntropy() override { (void)cudaStreamSynchronize(backend_.stream()); }  // on_host_ goes next

  void run(const float* logits, const LossTargets& targets, double smoothing, const float* scale,
           float* gradient) override {
    LossKernel args{};
    args.logits = logits;
    args.labels = targets.labels;
    args.others = targets.others;
    args.weights = targets.weights;
    args.gradient = gradient;
    args.losses = reinterpret_cast<double*>(results_);
    args.hits = reinterpret_cast<std::int32_t*>(results_ + batch_ * sizeof(double));
    args.samples = batch_;
    args.classes = classes_;
    args.smoothing = smoothing;
    args.scale = scale;
    SENG_CUDA_LAUNCH(launch_cross_entropy(backend_.stream(), args));
    SENG_CUDA(
        cudaMemcpyAsync(on_host_.get(), results_, result_bytes(), cudaMemcpyDeviceToHost, backend_.stream()));
  }

  LossResult result(int samples) override {
    SENG_CHECK(samples <= batch_, "no more samples than were computed");
    SENG_CUDA(cudaStreamSynchronize(backend_.stream()));
    const auto* view = static_cast<const std::byte*>(on_host_.get());
    LossResult result;
    for (int sample = 0; sample < samples; ++sample) {
      double loss = 0;
      std::int32_t hit = 0;
      std::memcpy(&loss, view + sample * sizeof loss, sizeof loss);
      std::memcpy(&hit, view + batch_ * sizeof loss + sample * sizeof hit, sizeof hit);
      result.loss += loss;
      result.hits += static_cast<std::uint64_t>(hit);
    }
    return result;
  }

 private:
  std::size_t result_bytes() const { return batch_ * (sizeof(double) + sizeof(std::int32_t)); }

  CudaBackend& backend_;
  int batch_, classes_;
  std::byte* results_;    // [losses | hits]
  PinnedMemory on_host_;  // likewise
};

}  // namespace

std::unique_ptr<CrossEntropy> CudaBackend::plan_cross_entropy(int batch, int classes) {
  return std::make_unique<CudaCrossEntropy>(*this, batch, classes);
}

}  // namespace seng::cuda
