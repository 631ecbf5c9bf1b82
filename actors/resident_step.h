// A step whose vectors never leave the GPU: what an actor does that is the only one of its job, with one
// lane. There is nobody to exchange with, so the sum stays where it was added up, directions are formed
// beside it, and weights, momentum and running statistics are the device's (resident_home.h). Of a step a few
// numbers come to the host. A job that grows to two actors goes on with the same bits.
//
// Used by the driver's thread alone, which is the one lane.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <vector>

#include "actors/exchange/exchange.h"
#include "actors/resident_directions.h"
#include "actors/step_update.h"

namespace seng {

class ResidentStep final : public StepVectors {
 public:
  // Takes memory of the device: sums for micro-batches beyond those of a piece. Throws VendorError where
  // there is no room.
  ResidentStep(const Workload& workload, ResidentHome& home, ResidentDirections& directions);

  // The step's micro-batches come, all of them, in order; weights are loaded.
  void begin();
  void add_summary(const std::array<float, kSummaryFloats>& summary);
  // All are there: means, and per block a direction, which may have to form curvature first; `directed` is
  // called behind each. `damping`: the step's. Waits. As the exchange gives it, without vectors but the
  // summary.
  StepComplete finish(TrainState& state, double damping, Lanes& lanes, const std::function<void()>& directed);

  bool overflowed() override;
  void update(const UpdateCoefficients& coefficients) override;

 private:
  ResidentHome& home_;
  ResidentDirections& directions_;
  const std::vector<std::uint8_t> additions_;                 // of the sum over all micro-batches
  std::vector<std::uint32_t> blocks_;                         // all
  std::vector<std::array<float, kSummaryFloats>> summaries_;  // a stack
  std::size_t summed_ = 0;                                    // micro-batches
};

}  // namespace seng
