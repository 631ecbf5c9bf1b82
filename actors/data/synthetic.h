// Images made from counter-based random numbers, for networks that need a shape rather than a subject:
// resnet18 on 3 x 32 x 32 runs anywhere. Every class has a smooth template; a sample is its class's template
// plus noise:
//     value = template[class] + noise * z,   label = a uniformly drawn class
// Templates have mean 0 and variance 1 over each channel; z has mean 0 and variance 1 (a triangular
// distribution). A sample is a function of (seed, split, index) alone and is made when it is read: only the
// templates are held.
#pragma once

#include <cstdint>
#include <vector>

#include "actors/data/dataset.h"

namespace seng {

struct SyntheticOptions {
  std::uint64_t channels = 3, height = 32, width = 32;
  std::uint64_t classes = 10;
  std::uint64_t train = 50000, test = 10000;  // samples
  std::uint64_t seed = 0;                     // of the data, apart from the job's own
  double noise = 1.0;                         // standard deviation, beside the templates' 1
};

inline constexpr std::uint64_t kSyntheticMaxTemplateBytes = std::uint64_t{256} << 20;

// Error: templates above kSyntheticMaxTemplateBytes.
Result<DataSplits> open_synthetic(const SyntheticOptions& options);

}  // namespace seng
