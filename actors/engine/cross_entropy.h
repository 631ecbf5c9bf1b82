// The contract's part (backend.h) for the loss.
#pragma once

#include <cstdint>

namespace seng {

struct LossResult {
  double loss = 0;  // sum over samples
  std::uint64_t hits = 0;
};

// What each sample should be: weight * onehot(label) + (1 - weight) * onehot(other). Memory, [batch] each.
// Classes are in [0, classes): the caller has looked.
struct LossTargets {
  const std::int32_t* labels = nullptr;
  const std::int32_t* others = nullptr;
  const float* weights = nullptr;
};

// Softmax cross-entropy of plain logits [batch, classes] with targets (1 - s) target + s/classes, s the
// smoothing. A hit is a sample whose largest logit is that of the class with the larger weight, the label's
// for equal ones.
class CrossEntropy {
 public:
  virtual ~CrossEntropy() = default;
  // gradient: of `*scale` (memory) times the loss sum, [batch, classes], or null, and scale with it. gradient
  // may be logits.
  virtual void run(const float* logits, const LossTargets& targets, double smoothing, const float* scale,
                   float* gradient) = 0;
  // Of the first `samples` samples of the last run, added up in their order. Waits for the device.
  virtual LossResult result(int samples) = 0;
};

}  // namespace seng
