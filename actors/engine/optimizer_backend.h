// What a backend plans for the optimizer: always in f32, and the memory that it holds goes back with it.
#pragma once

#include <memory>

#include "actors/engine/kronecker_factors.h"
#include "actors/engine/samples.h"

namespace seng {

class OptimizerBackend {
 public:
  virtual ~OptimizerBackend() = default;
  // Makes all that is else made when first asked for, so that it is not made beside others' work.
  virtual void make_ready() = 0;
  virtual std::unique_ptr<Samples> plan_samples(const SamplesPlan& plan) = 0;
  virtual std::unique_ptr<KroneckerSums> plan_kronecker_sums(const KroneckerPlan& plan) = 0;
  virtual std::unique_ptr<KroneckerInverse> plan_kronecker_inverse(const KroneckerPlan& plan) = 0;
};

}  // namespace seng
