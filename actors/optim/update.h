// The part of an optimizer step that every actor does alike: schedules, trust region, momentum SGD.
#pragma once

#include <cstdint>
#include <span>

#include "actors/engine/lanes.h"
#include "actors/engine/update_coefficients.h"
#include "protocol/spec/job_spec.h"

namespace seng {

// Positions in epochs: step * batch / data set size before the step. See the .cpp for each formula.
// `end` is where the schedule ends; `schedule.end_epochs` has been made it (schedule_end_in_steps of
// actors/workload.h) and is not looked at.
double schedule_value(const ScheduleSpec& schedule, double epoch, double end);
double damping_value(const OptimizerSpec& optimizer,
                     double epoch);  // initial * decay^floor(epoch / every_epochs)

// min(1, sqrt(kappa / (lr^2 * sum))), the KL clip of K-FAC (Ba, Grosse, Martens 2017, section 5; also
// kfac-pytorch). `inner_products` are g^T d per block, added in block order. kappa 0 is 1. A sum that is not
// positive gives 1.
double trust_region_scale(double kappa, double lr, std::span<const double> inner_products);

// a . b: runs of 65,536 by dot(), added in order.
double inner_product(std::span<const float> a, std::span<const float> b, Lanes& lanes);

// LARS (You, Gitman, Ginsburg 2017, arXiv 1708.03888, algorithm 1): the factor of a block's whole step,
//   eta * |w| / (|g| + weight_decay * |w|), and 1 where one of |w|, |g| is 0.
// Norms over all of the block (weight and bias together), in the order of dot().
double lars_scale(double eta, double weight_decay, std::span<const float> weights,
                  std::span<const float> gradient);

// Momentum SGD over one block's run, see update_coefficients.h.
void momentum_update(const UpdateCoefficients& c, std::span<const float> direction, std::span<float> momentum,
                     std::span<float> weights);

}  // namespace seng
