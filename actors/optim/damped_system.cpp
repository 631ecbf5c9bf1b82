#include "actors/optim/damped_system.h"

#include <cmath>
#include <string>
#include <utility>

namespace seng {

Error overflow_of(std::size_t i, std::size_t j) {
  return {ErrorCode::kInvalidArgument,
          "the inner product of samples " + std::to_string(i) + " and " + std::to_string(j) + " overflows"};
}

Error not_positive_definite(double lambda) {
  return {ErrorCode::kInvalidArgument, "lambda I + U^T U is not positive definite with lambda " +
                                           std::to_string(lambda) + ": raise the damping"};
}

Result<DampedSystem> DampedSystem::form(AlignedBuffer<double> gram, std::size_t samples, double lambda,
                                        std::size_t workers) {
  SENG_CHECK(workers > 0 && samples % workers == 0, "samples do not share out among the workers");
  double* k = gram.data();
  const std::size_t own = samples / workers;
  const double inverse_count = 1.0 / double(own);
  for (std::size_t i = 0; i < samples; ++i) {
    for (std::size_t j = 0; j <= i; ++j) {
      if (!std::isfinite(k[i * samples + j])) {
        return fail(overflow_of(i, j));
      }
      k[i * samples + j] *= i / own == j / own ? inverse_count : 0;
    }
    k[i * samples + i] += lambda;
  }
  if (!cholesky(k, samples)) {
    return fail(not_positive_definite(lambda));
  }
  DampedSystem system;
  system.factor_ = std::move(gram);
  system.samples_ = samples;
  return system;
}

}  // namespace seng
