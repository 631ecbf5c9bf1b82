// A step of a group whose actors' GPUs exchange over NCCL: sums, directions, weights, momentum and running
// statistics stay on the devices. The exchange adds and carries vectors of this actor's device (Group::
// vectors); what of them passes between it and the passes' own vectors is copied there.
//
//   passes --hand_out()--> the exchange's sums --BlockSummed--> means --> directions --> direction_buffer()
//   parameters <--update()-- the exchange's directions, joined, of all blocks <------------- publish()
//
// The bits are those of vectors on the host. Used by the driver's thread alone, which is the one lane.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "actors/exchange/exchange.h"
#include "actors/resident_directions.h"
#include "actors/step_update.h"

namespace seng {

class ResidentGroupStep final : public StepVectors {
 public:
  // Takes memory of the device. Throws VendorError where there is no room.
  ResidentGroupStep(const Workload& workload, ResidentHome& home, ResidentDirections& directions);

  // Of the exchange's groups; the same always.
  const std::shared_ptr<VectorMemory>& vectors() const { return vectors_; }

  // The sum of these micro-batches, that the replica holds, goes to the exchange. Waits.
  void hand_out(const LeafRange& micros, Exchange& exchange);

  // Blocks of this actor's own, ascending, all of them: their sums come from the exchange, their directions
  // go there. `directed` is called behind each. Waits.
  struct Owned {
    std::uint32_t block = 0;
    std::span<const float> sum;  // as BlockSummed has it
    bool refused = false;
  };
  void publish(TrainState& state, const std::vector<Owned>& owned, double damping, Lanes& lanes,
               Exchange& exchange, const std::function<void()>& directed);

  // Of a membership's memory: waits for what uses it.
  void let_go();

  // The directions of all blocks are there.
  void take(const StepComplete& complete);
  bool overflowed() override;
  void update(const UpdateCoefficients& coefficients) override;
  // The same, on the host until the next call of anything here.
  StepComplete on_host(const StepComplete& complete);

 private:
  ResidentHome& home_;
  ResidentDirections& directions_;
  const std::shared_ptr<VectorMemory> vectors_;
  float* const sums_;    // of own blocks, in the replica's layout
  ResidentPlan joined_;  // where blocks lie in the exchange's directions
  std::unique_ptr<ResidentVectors> of_joined_;
  const float* taken_ = nullptr;  // these, of the step, and who keeps them
  std::shared_ptr<const void> keeps_;
};

}  // namespace seng
