#include "actors/optim/update.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>

#include "actors/engine/linalg.h"
#include "actors/optim/tasks.h"
#include "protocol/base/error.h"

namespace seng {
namespace {

constexpr double kWarmupStart = 0.1;  // of the initial value

// How much of the schedule has passed, in [0, 1]; it begins where the warm-up ends, and stays at its end.
double progress(const ScheduleSpec& schedule, double epoch, double end) {
  const double length = end - schedule.warmup_epochs;
  if (!(length > 0)) return 1;
  return std::clamp((epoch - schedule.warmup_epochs) / length, 0.0, 1.0);
}

}  // namespace

// With p the progress, from 0 at the end of the warm-up (w epochs) to 1 at the end:
//   constant  initial
//   exp       initial * (1 - p)^exponent
//   poly      final + (initial - final) * (1 - p)^exponent
//   cosine    final + (initial - final) * (1 + cos(pi p)) / 2
//   step      initial * gamma^(number of milestones <= epoch), milestones in epochs from the job's start
// and before that, epoch < w:  initial * (0.1 + 0.9 * epoch / w).
double schedule_value(const ScheduleSpec& schedule, double epoch, double end) {
  const double initial = schedule.initial, range = schedule.initial - schedule.final;
  if (epoch < schedule.warmup_epochs) {
    return initial * (kWarmupStart + (1 - kWarmupStart) * std::max(epoch, 0.0) / schedule.warmup_epochs);
  }
  const double p = progress(schedule, epoch, end);
  if (schedule.kind == "constant") return initial;
  if (schedule.kind == "exp") return initial * std::pow(1 - p, schedule.exponent);
  if (schedule.kind == "poly") return schedule.final + range * std::pow(1 - p, schedule.exponent);
  if (schedule.kind == "cosine") return schedule.final + range * (1 + std::cos(std::numbers::pi * p)) / 2;
  SENG_CHECK(schedule.kind == "step", "unknown schedule " + schedule.kind);
  const auto passed = std::count_if(schedule.milestones.begin(), schedule.milestones.end(),
                                    [epoch](double milestone) { return milestone <= epoch; });
  return initial * std::pow(schedule.gamma, double(passed));
}

double damping_value(const OptimizerSpec& optimizer, double epoch) {
  if (!(optimizer.damping_every_epochs > 0)) return optimizer.damping_initial;
  return optimizer.damping_initial *
         std::pow(optimizer.damping_decay, std::floor(epoch / optimizer.damping_every_epochs));
}

double trust_region_scale(double kappa, double lr, std::span<const double> inner_products) {
  const double sum = std::accumulate(inner_products.begin(), inner_products.end(), 0.0);
  const double squared_length = lr * lr * sum;
  // A NaN is no reason to scale: it stays visible in the weights and the loss.
  if (!(kappa > 0) || !(squared_length > 0)) return 1;
  return std::min(1.0, std::sqrt(kappa / squared_length));
}

double inner_product(std::span<const float> a, std::span<const float> b, Lanes& lanes) {
  SENG_CHECK(a.size() == b.size(), "vectors of one length");
  const Cut runs{a.size(), std::size_t(1) << 16};
  std::vector<double> parts(runs.tasks());
  run_tasks(lanes, runs.tasks(), double(a.size()), [&](std::size_t run) {
    parts[run] = dot(a.data() + runs.begin(run), b.data() + runs.begin(run), runs.size(run));
  });
  return std::accumulate(parts.begin(), parts.end(), 0.0);
}

double lars_scale(double eta, double weight_decay, std::span<const float> weights,
                  std::span<const float> gradient) {
  const double w = std::sqrt(dot(weights.data(), weights.data(), weights.size()));
  const double g = std::sqrt(dot(gradient.data(), gradient.data(), gradient.size()));
  if (!(w > 0) || !(g > 0)) return 1;  // a NaN is no reason to scale either: it stays visible
  return eta * w / (g + weight_decay * w);
}

void momentum_update(const UpdateCoefficients& c, std::span<const float> direction, std::span<float> momentum,
                     std::span<float> weights) {
  SENG_CHECK(direction.size() == weights.size() && momentum.size() == weights.size(), "runs of one block");
  const float* __restrict d = direction.data();
  float* __restrict m = momentum.data();
  float* __restrict w = weights.data();
  const UpdateCoefficients k = c;
  if (k.nesterov) {
    for (std::size_t i = 0; i < weights.size(); ++i) {
      const float step = k.scale * d[i] + k.weight_decay * w[i];
      m[i] = k.momentum * m[i] + step;
      w[i] -= k.lr * (step + k.momentum * m[i]);
    }
  } else {
    for (std::size_t i = 0; i < weights.size(); ++i) {
      m[i] = k.momentum * m[i] + (k.scale * d[i] + k.weight_decay * w[i]);
      w[i] -= k.lr * m[i];
    }
  }
}

}  // namespace seng
