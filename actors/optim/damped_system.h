// The N x N system of the Sherman-Morrison-Woodbury formula: K = lambda I + R^T R / N, factored once a
// refresh.
//
// In double: N is at most about 1,000 while R^T R took N^2 * m * n operations, so this costs next to nothing,
// and it takes the factor's own error out of the direction's (README.md has the measurement).
#pragma once

#include <cstddef>

#include "actors/engine/linalg.h"
#include "protocol/base/error.h"

namespace seng {

// What is said where it cannot be formed.
Error overflow_of(std::size_t i, std::size_t j);  // the inner product of two samples is not finite
Error not_positive_definite(double lambda);

class DampedSystem {
 public:
  // `gram` holds R^T R in its lower triangle and is taken over. Refused: a value that is not finite, a K that
  // is not positive definite.
  // `workers` divides `samples`: with more than one, K is block-diagonal, lambda I + R_w^T R_w / (N/M) for
  // the N/M samples in a row of each, and g - R K^-1 c / N, over lambda, is the mean of the workers' own
  // directions.
  static Result<DampedSystem> form(AlignedBuffer<double> gram, std::size_t samples, double lambda,
                                   std::size_t workers = 1);

  // x <- K^-1 x
  void solve(double* x) const { cholesky_solve(factor_.data(), samples_, x); }

 private:
  AlignedBuffer<double> factor_;
  std::size_t samples_ = 0;
};

}  // namespace seng
