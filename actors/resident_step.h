// A step whose vectors never leave the GPU: what an actor does that is the only one of its job, with one
// lane. There is nobody to exchange with, so the sum stays where it was added up, directions are formed
// beside it, and weights, momentum and running statistics are the device's. Of a step a few numbers come to
// the host.
//
// The bits are those of the other way (actors/engine/resident.h), so which of the two a step goes is nobody's
// business: a job that grows to two actors goes on with what bring_home() left on the host.
//
//   the host's  --take_there()-->  the device's  --bring_home()-->  both's  --update()-->  the device's
//       ^-----------------leave(), once it is both's-----------------'
//
// Used by the driver's thread alone.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "actors/exchange/exchange.h"
#include "actors/step_update.h"
#include "actors/train_state.h"
#include "actors/workload.h"

namespace seng {

// Whether a job's step can be taken so: of lars and of damping that adapts the host has more to do.
bool may_be_resident(const Workload& workload, int lanes);
// ReplicaOptions::sums_held of a GPU's lane: what its pieces need, and where its step may stay there at least
// one.
int held_sums(const Workload& workload, int lanes);

class ResidentStep final : public StepVectors {
 public:
  // Takes memory of the device: three vectors, and sums for micro-batches beyond those of a piece. Null where
  // it cannot be. Throws VendorError where there is no room. `replicas` must outlive it.
  static std::unique_ptr<ResidentStep> create(const Workload& workload, std::vector<Replica>& replicas);

  // Why directions are not repeated by the GPU itself as they could be, see Recording; else empty.
  std::string graph_shortfall() const { return directions_pass_ ? directions_pass_->shortfall() : ""; }

  void take_there(const TrainState& state);  // unless it is there
  void bring_home(TrainState& state);        // likewise; waits
  // The host's is to change. What is remembered of its curvature goes too.
  void leave();

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
  ResidentStep(const Workload& workload, Replica& replica, std::unique_ptr<ResidentState> resident);
  void direct(TrainState& state, double damping, Lanes& lanes, const std::function<void()>& directed);
  void precondition(TrainState& state);
  void add_dots(StepComplete& step);

  const Workload& workload_;
  Replica& replica_;
  std::unique_ptr<ResidentState> resident_;
  bool there_ = false, home_ = true;            // where the vectors are those of the newest step
  std::vector<Curvature::InForce> in_force_;    // per block, of the step
  std::unique_ptr<Recording> directions_pass_;  // of the curvature in force
  const float* directions_ = nullptr;           // of the step: a vector
  const std::vector<std::uint8_t> additions_;   // of the sum over all micro-batches
  std::vector<std::array<float, kSummaryFloats>> summaries_;  // a stack
  std::size_t summed_ = 0;                                    // micro-batches
};

}  // namespace seng
