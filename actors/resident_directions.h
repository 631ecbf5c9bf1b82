// What the owner of blocks makes of their sums where these lie on the GPU (block_direction.h does it on the
// host): means, directions, and the products that go with them. Directions are formed by the GPU itself, as
// one piece of work a stream (sample_devices.h), as long as the same curvature of the same blocks is in
// force.
//
// Used by the driver's thread alone, which is the one lane.
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
  std::string graph_shortfall() const;

 private:
  void direct(TrainState& state, const std::vector<std::uint32_t>& blocks, double damping, Lanes& lanes,
              const std::function<void()>& directed);
  // Those of the blocks that one stream of the samples' has, queued there.
  struct Pass {
    std::shared_ptr<SampleDevice> device;
    std::vector<std::size_t> places;       // in blocks_
    std::unique_ptr<Recording> recording;  // null: they are queued call by call
  };
  void make_passes();
  void precondition(TrainState& state, Pass& pass);
  std::vector<DotParts> products();

  const Workload& workload_;
  ResidentHome& home_;
  const float* means_ = nullptr;              // of the step
  const float* vector_ = nullptr;             // likewise
  std::vector<std::uint32_t> blocks_;         // of the step, and per each:
  std::vector<Curvature::InForce> in_force_;  // what it goes by
  std::vector<Pass> passes_;                  // of these, and of the means that they read
  const float* recorded_ = nullptr;
};

}  // namespace seng
