// What is kept of one sample's gradient of one block, and how large it is.
#pragma once

#include <cstddef>
#include <cstdint>

#include "actors/engine/block.h"

namespace seng {

enum class Representation {
  kExplicit,  // u_i itself: block.count floats, in the parameters' layout
  kImplicit,  // its factors: the layer's raw input and the gradient of its output; convolutions and linear
              // layers
  kScale,     // batch norm's g/(1+lambda): keeps nothing
};

// The smaller of m*n (+m with a bias) and kappa*(m+n), floats a sample; a batch norm is explicit or, if
// `batch_norm_scale`, kScale. The rule counts the unfolded input (n*kappa); what is kept of a convolution is
// the raw input, smaller again by up to kh*kw.
Representation choose_representation(const Block& block, bool batch_norm_scale);

// Floats of one sample as they are stored and travel: `first` u_i or the raw input ([C_in, H, W] or [n]),
// `second` nothing or the output's gradient [m, kappa].
struct SampleSize {
  std::size_t first = 0, second = 0;
  std::size_t total() const { return first + second; }
};
SampleSize sample_size(const Block& block, Representation representation);

struct FragmentShape {
  Representation representation = Representation::kExplicit;
  int samples = 0;         // per micro-batch: N / V
  std::size_t floats = 0;  // of one fragment; 0 for kScale
};
FragmentShape fragment_shape(const Block& block, Representation representation, int samples);

// What a curvature over `samples` samples in all holds once it is in force: the samples and the N x N factor.
// While a refresh is open the samples are there twice.
std::size_t curvature_bytes(const Block& block, Representation representation, std::size_t samples);

}  // namespace seng
