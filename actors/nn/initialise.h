// PyTorch's initialisations of weights.
#pragma once

#include <span>

#include "actors/engine/random.h"

namespace seng {

// Uniform in +-1/sqrt(fan_in): nn.Linear's and nn.Conv2d's default for weight and bias.
void fill_uniform(Random& random, int fan_in, std::span<float> values);

// Normal with mean 0 and variance 2/fan_out: kaiming_normal_(mode="fan_out", nonlinearity="relu").
void fill_kaiming_normal(Random& random, int fan_out, std::span<float> values);

// Normal with mean 0.
void fill_normal(Random& random, double deviation, std::span<float> values);

}  // namespace seng
