// What a backend plans for the optimizer: always in f32, and the memory that it holds goes back with it.
#pragma once

#include <memory>

#include "actors/engine/kronecker_factors.h"
#include "actors/engine/low_rank_cuts.h"
#include "actors/engine/samples.h"
#include "actors/engine/vector_sketch.h"

namespace seng {

class OptimizerBackend {
 public:
  virtual ~OptimizerBackend() = default;
  // Makes all that is else made when first asked for, so that it is not made beside others' work.
  virtual void make_ready() = 0;
  virtual std::unique_ptr<Samples> plan_samples(const SamplesPlan& plan) = 0;
  virtual std::unique_ptr<KroneckerSums> plan_kronecker_sums(const KroneckerPlan& plan) = 0;
  virtual std::unique_ptr<KroneckerInverse> plan_kronecker_inverse(const KroneckerPlan& plan) = 0;
  // Null where the factors are better handed over whole: on the CPU, whose host cuts them in its own way, and
  // where there are more vectors than a device takes.
  virtual std::unique_ptr<LowRankCuts> plan_low_rank_cuts(const LowRankPlan& plan) = 0;
  virtual std::unique_ptr<VectorSketch> plan_sketch(const SketchPlan& plan) = 0;
};

}  // namespace seng
