#include <cmath>

#include "actors/engine/cpu/cpu_backend.h"

namespace seng::cpu {
namespace {

class CpuCrossEntropy final : public CrossEntropy {
 public:
  explicit CpuCrossEntropy(int classes) : classes_(classes), exponentials_(classes) {}

  LossResult run(const float* logits, const LossTargets& targets, int samples, const LossOptions& options,
                 float* gradient) override {
    LossResult result;
    for (int sample = 0; sample < samples; ++sample) {
      Target target{targets.labels[sample], targets.labels[sample], 1};
      if (targets.others != nullptr) target = {target.label, targets.others[sample], targets.weights[sample]};
      SENG_CHECK(is_class(target.label) && is_class(target.other),
                 "a label outside of the network's classes");
      const std::size_t row = std::size_t(sample) * classes_;
      add_sample(logits + row, target, options, gradient == nullptr ? nullptr : gradient + row, result);
    }
    return result;
  }

 private:
  struct Target {
    int label, other;
    double weight;  // of label; the rest is other's
  };

  bool is_class(int label) const { return label >= 0 && label < classes_; }

  void add_sample(const float* logits, const Target& target, const LossOptions& options, float* gradient,
                  LossResult& result) {
    int best = 0;
    for (int c = 1; c < classes_; ++c) {
      if (logits[c] > logits[best]) best = c;
    }
    const double largest = logits[best];
    double sum = 0, logit_sum = 0;
    for (int c = 0; c < classes_; ++c) {
      exponentials_[c] = std::exp(logits[c] - largest);
      sum += exponentials_[c];
      logit_sum += logits[c];
    }
    const double log_sum = largest + std::log(sum);
    const double smoothing = options.smoothing, off_target = smoothing / classes_;
    const double on_target = (1 - smoothing) * target.weight,
                 on_other = (1 - smoothing) * (1 - target.weight);
    result.loss += log_sum - on_target * logits[target.label] - off_target * logit_sum;
    if (on_other > 0) result.loss -= on_other * logits[target.other];
    result.hits += best == (target.weight >= 0.5 ? target.label : target.other);
    if (gradient == nullptr) return;
    for (int c = 0; c < classes_; ++c) {
      const double wanted =
          off_target + (c == target.label ? on_target : 0.0) + (c == target.other ? on_other : 0.0);
      gradient[c] = options.scale * static_cast<float>(exponentials_[c] / sum - wanted);
    }
  }

  int classes_;
  std::vector<double> exponentials_;
};

}  // namespace

std::unique_ptr<CrossEntropy> CpuBackend::plan_cross_entropy(int classes) {
  return std::make_unique<CpuCrossEntropy>(classes);
}

}  // namespace seng::cpu
