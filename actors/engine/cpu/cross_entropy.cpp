#include <cmath>

#include "actors/engine/cpu/cpu_backend.h"

namespace seng::cpu {
namespace {

class CpuCrossEntropy final : public CrossEntropy {
 public:
  explicit CpuCrossEntropy(int classes) : classes_(classes), exponentials_(classes) {}

  LossResult run(const float* logits, const std::int32_t* labels, int samples, double smoothing,
                 float* gradient) override {
    LossResult result;
    for (int sample = 0; sample < samples; ++sample) {
      SENG_CHECK(labels[sample] >= 0 && labels[sample] < classes_,
                 "a label outside of the network's classes");
      const std::size_t row = std::size_t(sample) * classes_;
      add_sample(logits + row, labels[sample], smoothing, gradient == nullptr ? nullptr : gradient + row,
                 result);
    }
    return result;
  }

 private:
  void add_sample(const float* logits, int label, double smoothing, float* gradient, LossResult& result) {
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
    const double off_target = smoothing / classes_;
    result.loss += log_sum - (1 - smoothing) * logits[label] - off_target * logit_sum;
    result.hits += best == label;
    if (gradient == nullptr) return;
    for (int c = 0; c < classes_; ++c) {
      const double target = off_target + (c == label ? 1 - smoothing : 0.0);
      gradient[c] = static_cast<float>(exponentials_[c] / sum - target);
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
