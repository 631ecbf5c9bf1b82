// What a pass reads of its micro-batch, in memory of fixed places, so that recorded passes find it there.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "actors/engine/backend.h"
#include "actors/nn/network.h"

namespace seng {

class PassInputs {
 public:
  // `image`: memory of [micro_batch, image_floats]. `backend` outlives it.
  PassInputs(Backend& backend, float* image, std::size_t image_floats, int micro_batch, int classes);

  // Sends a micro-batch of at most that many samples on its way; the places of missing ones keep earlier
  // images. Comes when the calls of all passes before it have been made.
  void put(const MicroBatch& batch);
  void take();  // the calls that are made from now on read it

  const DropoutKey* dropout() const { return reinterpret_cast<const DropoutKey*>(memory_); }
  const float* loss_scale() const { return reinterpret_cast<const float*>(memory_ + kLossScale); }
  LossTargets targets() const;

 private:
  static constexpr std::size_t kLossScale = sizeof(DropoutKey), kTargets = kLossScale + 8, kWord = 4;
  enum Target { kLabels, kOthers, kWeights, kTargetKinds };
  std::size_t at(Target target) const { return kTargets + target * micro_batch_ * kWord; }
  template <class T>
  T* host(std::size_t offset) {
    return reinterpret_cast<T*>(host_.data() + offset);
  }

  std::size_t image_floats_, micro_batch_;
  int classes_;
  std::vector<std::byte> host_;  // [key | loss scale | labels | others | weights]
  std::byte* memory_;            // likewise
  std::unique_ptr<Feed> images_, rest_;
};

}  // namespace seng
