#include "actors/nn/pass_inputs.h"

#include <cstring>

namespace seng {

PassInputs::PassInputs(Backend& backend, float* image, std::size_t image_floats, int micro_batch, int classes)
    : image_floats_(image_floats),
      micro_batch_(static_cast<std::size_t>(micro_batch)),
      classes_(classes),
      host_(at(kTargetKinds)),
      memory_(static_cast<std::byte*>(backend.allocate(host_.size()))),
      images_(backend.plan_feed(image, micro_batch_ * image_floats * sizeof(float))),
      rest_(backend.plan_feed(memory_, host_.size())) {}

// A sample that is no mixture is wholly its label's: the same bits.
void PassInputs::put(const MicroBatch& batch) {
  const auto samples = static_cast<std::size_t>(batch.samples);
  const DropoutKey key{batch.seed, batch.step, batch.first_sample};
  std::memcpy(host_.data(), &key, sizeof key);
  *host<float>(kLossScale) = batch.loss_scale;
  const auto is_class = [&](std::int32_t label) { return label >= 0 && label < classes_; };
  for (std::size_t i = 0; i < samples; ++i) {
    const std::int32_t label = batch.labels != nullptr ? batch.labels[i] : 0;
    const std::int32_t other = batch.partners != nullptr ? batch.partners[i] : label;
    SENG_CHECK(is_class(label) && is_class(other), "a label outside of the network's classes");
    host<std::int32_t>(at(kLabels))[i] = label;
    host<std::int32_t>(at(kOthers))[i] = other;
    host<float>(at(kWeights))[i] = batch.partners != nullptr ? batch.weights[i] : 1.0f;
  }
  images_->put(batch.images, samples * image_floats_ * sizeof(float));
  rest_->put(host_.data(), host_.size());
}

void PassInputs::take() {
  images_->take();
  rest_->take();
}

LossTargets PassInputs::targets() const {
  return {reinterpret_cast<const std::int32_t*>(memory_ + at(kLabels)),
          reinterpret_cast<const std::int32_t*>(memory_ + at(kOthers)),
          reinterpret_cast<const float*>(memory_ + at(kWeights))};
}

}  // namespace seng
