#include "actors/optim/damping_control.h"

#include <algorithm>

#include "protocol/base/error.h"

namespace seng {

std::vector<float> unpreconditioned_part(const OptimizerSpec& optimizer, std::span<const float> momentum,
                                         std::span<const float> weights) {
  SENG_CHECK(momentum.size() == weights.size(), "runs of one block");
  const double mu = optimizer.momentum;
  const float of_momentum = float(optimizer.nesterov ? mu * mu : mu);
  const float of_weights = float(optimizer.weight_decay * (optimizer.nesterov ? 1 + mu : 1));
  std::vector<float> v(weights.size());
  for (std::size_t i = 0; i < v.size(); ++i) v[i] = of_momentum * momentum[i] + of_weights * weights[i];
  return v;
}

double predicted_change(const OptimizerSpec& optimizer, double lr, double scale, double inner_product,
                        const StepModel& model) {
  const double along = scale * (optimizer.nesterov ? 1 + optimizer.momentum : 1);
  const double linear = along * inner_product + model.slope;
  const double quadratic = along * along * model.dd + 2 * along * model.vd + model.vv;
  return -lr * linear + 0.5 * lr * lr * quadratic;
}

double adapted_damping(const AdaptiveDampingSpec& adaptive, double lambda, double ratio) {
  constexpr double kGood = 0.75, kBad = 0.25;
  if (ratio > kGood) lambda /= adaptive.factor;
  if (!(ratio >= kBad)) lambda *= adaptive.factor;
  return std::clamp(lambda, adaptive.min, adaptive.max);
}

}  // namespace seng
