#include <cmath>

#include "actors/engine/cpu/cpu_backend.h"

namespace seng::cpu {
namespace {

class CpuCrossEntropy final : public CrossEntropy {
 public:
  CpuCrossEntropy(int batch, int classes)
      : classes_(classes), exponentials_(classes), samples_(static_cast<std::size_t>(batch)) {}

  void run(const float* logits, const LossTargets& targets, double smoothing, const float* scale,
           float* gradient) override {
    for (std::size_t i = 0; i < samples_.size(); ++i) {
      const Target target{targets.labels[i], targets.others[i], targets.weights[i]};
      const std::size_t row = i * classes_;
      samples_[i] = sample(logits + row, target, smoothing);
      if (gradient != nullptr) put_gradient(target, smoothing, *scale, gradient + row);
    }
  }

  LossResult result(int samples) override {
    LossResult result;
    for (int i = 0; i < samples; ++i) {
      result.loss += samples_[i].loss;
      result.loss -= samples_[i].others_part;
      result.hits += samples_[i].hit;
    }
    return result;
  }

 private:
  struct Target {
    int label, other;
    double weight;  // of label; the rest is other's
  };
  struct Sample {
    double loss = 0, others_part = 0;  // to be taken from it
    bool hit = false;
  };

  // Leaves the exponentials and their sum for the gradient.
  Sample sample(const float* logits, const Target& target, double smoothing) {
    int best = 0;
    for (int c = 1; c < classes_; ++c) {
      if (logits[c] > logits[best]) best = c;
    }
    const double largest = logits[best];
    double logit_sum = 0;
    sum_ = 0;
    for (int c = 0; c < classes_; ++c) {
      exponentials_[c] = std::exp(logits[c] - largest);
      sum_ += exponentials_[c];
      logit_sum += logits[c];
    }
    const double on_target = (1 - smoothing) * target.weight,
                 on_other = (1 - smoothing) * (1 - target.weight);
    const double log_sum = largest + std::log(sum_);
    Sample out{log_sum - on_target * logits[target.label] - smoothing / classes_ * logit_sum};
    if (on_other > 0) out.others_part = on_other * logits[target.other];
    out.hit = best == (target.weight >= 0.5 ? target.label : target.other);
    return out;
  }

  void put_gradient(const Target& target, double smoothing, float scale, float* gradient) const {
    const double on_target = (1 - smoothing) * target.weight,
                 on_other = (1 - smoothing) * (1 - target.weight);
    for (int c = 0; c < classes_; ++c) {
      const double wanted =
          smoothing / classes_ + (c == target.label ? on_target : 0.0) + (c == target.other ? on_other : 0.0);
      gradient[c] = scale * static_cast<float>(exponentials_[c] / sum_ - wanted);
    }
  }

  int classes_;
  std::vector<double> exponentials_;  // of the sample at hand
  double sum_ = 0;                    // of these
  std::vector<Sample> samples_;       // [batch]
};

}  // namespace

std::unique_ptr<CrossEntropy> CpuBackend::plan_cross_entropy(int batch, int classes) {
  return std::make_unique<CpuCrossEntropy>(batch, classes);
}

}  // namespace seng::cpu
