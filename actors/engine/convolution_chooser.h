// Who settles which of a library's algorithms a convolution runs with, where a backend is not to go by the
// library's own expectation. Two algorithms give different bits, so that all actors of a job must be told
// alike.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "actors/engine/arithmetic.h"
#include "actors/engine/block.h"

namespace seng {

enum class ConvolutionPass { kForward, kBackwardData, kBackwardWeights };

// What an algorithm is chosen for: equal keys on one kind of device are one problem.
struct ConvolutionKey {
  ConvolutionPass pass = ConvolutionPass::kForward;
  Arithmetic precision = Arithmetic::kF32;
  bool channels_last = false;
  int batch = 0;
  ConvolutionGeometry geometry;
};

// Runs an algorithm on the device; milliseconds of each run. Empty: it cannot run now, for want of memory.
using TimeAlgorithm = std::function<std::vector<double>(int algorithm)>;

class ConvolutionChooser {
 public:
  virtual ~ConvolutionChooser() = default;
  // Called while planning, by the backend's thread. `device`: as Backend::device_name. `allowed`: the
  // library's numbers of the algorithms that may be taken, deterministic ones only, in its order of expected
  // speed; at least one. Returns one of them.
  virtual int choose(const ConvolutionKey& key, const std::string& device, const std::vector<int>& allowed,
                     const TimeAlgorithm& time) = 0;
};

}  // namespace seng
