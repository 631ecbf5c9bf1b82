#include <cstring>

#include "actors/engine/cuda/cuda_backend.h"

namespace seng::cuda {
namespace {

// The host adds the samples' losses up in their order. It waits for them: a micro-batch has one such wait.
class CudaCrossEntropy final : public CrossEntropy {
 public:
  CudaCrossEntropy(CudaBackend& backend, int classes) : backend_(backend), classes_(classes) {}

  LossResult run(const float* logits, const LossTargets& targets, int samples, const LossOptions& options,
                 float* gradient) override {
    check(targets, samples);
    make_room(samples);
    LossKernel args{};
    args.logits = logits;
    args.labels = static_cast<const std::int32_t*>(put(kLabels, targets.labels, samples));
    if (targets.others != nullptr) {
      args.others = static_cast<const std::int32_t*>(put(kOthers, targets.others, samples));
      args.weights = static_cast<const float*>(put(kWeights, targets.weights, samples));
    }
    args.gradient = gradient;
    args.losses = reinterpret_cast<double*>(results_);
    args.hits = reinterpret_cast<std::int32_t*>(results_ + room_ * sizeof(double));
    args.samples = samples;
    args.classes = classes_;
    args.smoothing = options.smoothing;
    args.scale = options.scale;
    SENG_CUDA_LAUNCH(launch_cross_entropy(backend_.stream(), args));
    return added_up(samples);
  }

 private:
  enum Input { kLabels, kOthers, kWeights, kInputs };

  void check(const LossTargets& targets, int samples) const {
    const auto is_class = [&](std::int32_t label) { return label >= 0 && label < classes_; };
    for (int sample = 0; sample < samples; ++sample) {
      SENG_CHECK(
          is_class(targets.labels[sample]) && (targets.others == nullptr || is_class(targets.others[sample])),
          "a label outside of the network's classes");
    }
  }

  // Of a replica every call has at most the samples of its first: once.
  void make_room(int samples) {
    if (static_cast<std::size_t>(samples) <= room_) return;
    room_ = static_cast<std::size_t>(samples);
    inputs_ = static_cast<std::byte*>(backend_.allocate(kInputs * room_ * kWord));
    results_ = static_cast<std::byte*>(backend_.allocate(room_ * (sizeof(double) + kWord)));
  }

  const void* put(Input input, const void* host, int samples) {
    std::byte* memory = inputs_ + input * room_ * kWord;
    backend_.upload(host, memory, samples * kWord);
    return memory;
  }

  LossResult added_up(int samples) {
    const std::size_t floats = room_ * (sizeof(double) + kWord) / sizeof(float);
    const auto* view = reinterpret_cast<const std::byte*>(
        backend_.host_view(reinterpret_cast<const float*>(results_), floats, 0, 1));
    LossResult result;
    for (int sample = 0; sample < samples; ++sample) {
      double loss = 0;
      std::int32_t hit = 0;
      std::memcpy(&loss, view + sample * sizeof(double), sizeof loss);
      std::memcpy(&hit, view + room_ * sizeof(double) + sample * kWord, sizeof hit);
      result.loss += loss;
      result.hits += static_cast<std::uint64_t>(hit);
    }
    return result;
  }

  static constexpr std::size_t kWord = 4;  // of a label, a weight, a hit
  CudaBackend& backend_;
  int classes_;
  std::size_t room_ = 0;          // samples
  std::byte* inputs_ = nullptr;   // [labels | others | weights]
  std::byte* results_ = nullptr;  // [losses | hits]
};

}  // namespace

std::unique_ptr<CrossEntropy> CudaBackend::plan_cross_entropy(int classes) {
  return std::make_unique<CudaCrossEntropy>(*this, classes);
}

}  // namespace seng::cuda
