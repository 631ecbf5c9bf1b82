// What the owner of blocks makes of their sums where these lie on the GPU (block_direction.h does it on the
// host): means, directions, and the products that go with them. Directions are formed by the GPU itself, as
// one piece of work, as long as the same curvature of the same blocks is in force.
//
// Used by the driver's thread alone.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "actors/resident_home.h"

namespace seng {

class ResidentDirections {
 public:
  ResidentDirections(const Workload& workload, ResidentHome& home) : workload_(workload), home_(home) {}

  // Of blocks in ascending order, in a vector of the replica's layout: the sum over the global batch becomes
  // the mean, in its place, and vector() has the directions. Curvature may have to be formed first;
  // `directed` is called behind each block's. Waits. Of second order: per block of `blocks` g.d, g.g and d.d.
  std::vector<DotParts> form(TrainState& state, float* sum, const std::vector<std::uint32_t>& blocks,
                             double damping, Lanes& lanes, const std::function<void()>& directed);
  const float* vector() const { return vector_; }  // of the last form()

  // The curvature may be another's when it goes on.
  void leave();

  // Why directions are not repeated by the GPU itself as they could be, see Recording; else empty.
  std::string graph_shortfall() const { return pass_ ? pass_->shortfall() : ""; }

 private:
  void direct(TrainState& state, const std::vector<std::uint32_t>& blocks, double damping, Lanes& lanes,
              const std::function<void()>& directed);
  void precondition(TrainState& state);
  std::vector<DotParts> products();

  const Workload& workload_;
  ResidentHome& home_;
  const float* means_ = nullptr;              // of the step
  const float* vector_ = nullptr;             // likewise
  std::vector<std::uint32_t> blocks_;         // of the step, and per each:
  std::vector<Curvature::InForce> in_force_;  // what it goes by
  const float* recorded_ = nullptr;           // the means that the pass reads
  std::unique_ptr<Recording> pass_;           // the directions' of the curvature in force
};

}  // namespace seng
