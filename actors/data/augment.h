// Augmentation of training images. What happens to a sample is a function of (seed, epoch, sample) and of the
// images of its micro-batch alone: the same pixels for any actor, lane and number of them. README.md of this
// folder says what each operation does.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "actors/data/dataset.h"
#include "actors/data/image_operations.h"
#include "protocol/spec/job_spec.h"

namespace seng {

// One use of a sample.
struct SampleUse {
  std::uint64_t epoch = 0;
  std::uint32_t index = 0;
};

// A micro-batch as the network takes it.
struct LabelledImages {
  std::vector<float> images;         // [samples, C, H, W]
  std::vector<std::int32_t> labels;  // [samples]
  // Mixup only, else empty: the sample is weights[i] of class labels[i] and the rest of class partners[i].
  std::vector<std::int32_t> partners;
  std::vector<float> weights;
};

class Augmenter {
 public:
  // Fails where an operation does not suit the images. The data set must outlive it.
  static Result<Augmenter> create(const AugmentSpec& spec, std::uint64_t seed, const Dataset& data);

  // `out` is resized. Thread-safe.
  Status read(std::span<const SampleUse> samples, LabelledImages& out) const;

 private:
  Augmenter(const AugmentSpec& spec, std::uint64_t seed, const Dataset& data);
  Status read_one(const SampleUse& sample, float* image, std::int32_t* label) const;

  AugmentSpec spec_;
  std::uint64_t seed_;
  const Dataset* data_;
  ImagePlanes planes_;
  std::vector<float> black_;  // of each channel
  bool plain_;                // no operation
};

}  // namespace seng
