// The kinds of layers, as PyTorch defines them; one source file each.
#pragma once

#include "actors/nn/layer.h"

namespace seng {

enum class WeightInitialisation {
  kDefault,  // PyTorch's: uniform in +-1/sqrt(fan_in), weight and bias (kaiming_uniform with a = sqrt(5))
  kKaimingNormal,  // torchvision's resnets and VGGs: weight normal with variance 2/fan_out, bias 0
  kSmallNormal,    // torchvision's VGGs, linear layers: weight normal with deviation 0.01, bias 0
};

struct Conv2dOptions {
  int channels = 0;  // of the output
  int kernel_h = 3, kernel_w = 3, stride = 1, padding = 0;
  int groups = 1;  // anything else is refused
  bool bias = true;
  WeightInitialisation initialisation = WeightInitialisation::kDefault;
};
LayerPtr conv2d(const Conv2dOptions& options);

// input [C, 1, 1]
LayerPtr linear(int features, bool bias = true,
                WeightInitialisation initialisation = WeightInitialisation::kDefault);

// Normalises with the micro-batch's own mean and biased variance (ghost batch norm) and hands out its mean
// and unbiased variance; evaluation uses the running ones. epsilon 1e-5. initial_scale: gamma at the start.
LayerPtr batch_norm(float initial_scale = 1);

LayerPtr relu();
LayerPtr add();      // of two equal shapes
LayerPtr flatten();  // [C, H, W] to [C*H*W, 1, 1] in that order
LayerPtr dropout(double probability);

struct PoolOptions {
  int kernel = 2, stride = 2, padding = 0;
};
LayerPtr max_pool(const PoolOptions& options);
LayerPtr average_pool(const PoolOptions& options);  // the divisor counts padding
LayerPtr global_average_pool();                     // to [C, 1, 1]
// To [C, size, size], for inputs whose two sides are the same multiple of it (with 1, nothing is done); other
// inputs, whose windows would overlap, are refused.
LayerPtr adaptive_average_pool(int size);

}  // namespace seng
