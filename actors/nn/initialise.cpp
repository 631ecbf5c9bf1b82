#include "actors/nn/initialise.h"

#include <cmath>

namespace seng {

void fill_uniform(Random& random, int fan_in, std::span<float> values) {
  const double bound = 1.0 / std::sqrt(static_cast<double>(fan_in));
  for (float& value : values) value = static_cast<float>((2.0 * random.uniform() - 1.0) * bound);
}

void fill_kaiming_normal(Random& random, int fan_out, std::span<float> values) {
  fill_normal(random, std::sqrt(2.0 / fan_out), values);
}

void fill_normal(Random& random, double deviation, std::span<float> values) {
  for (float& value : values) value = static_cast<float>(random.normal() * deviation);
}

}  // namespace seng
