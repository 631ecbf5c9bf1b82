// The curvature factors of a micro-batch on their way to the host, where it need not wait for each block's:
// they are copied while the pass goes on, which then writes over them, and handed out behind it, after one
// wait for all.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "actors/engine/backend.h"
#include "actors/nn/network.h"

namespace seng {

// Used by one thread. `backend` must outlive it.
class FactorDrain {
 public:
  // Of so many samples' factors a micro-batch; cut_words: per block, 0 where they come whole. Null where the
  // backend's memory is the host's.
  static std::unique_ptr<FactorDrain> create(Backend& backend, const std::vector<Block>& blocks,
                                             const std::vector<std::size_t>& cut_words, int samples);

  // Whether a block's go this way: cut ones, and whole ones that are small.
  bool takes(std::size_t block) const { return takes_[block]; }
  void begin();  // a micro-batch
  // Queued. Words of cut factors; or whole ones, whose gradients count `factor` times.
  void take_cut(std::size_t block, const float* words, std::size_t count);
  void take_whole(std::size_t block, const SampleFactors& factors, float factor);
  // Waits, and hands out what was taken.
  void hand_out(BackwardSink& sink);

 private:
  FactorDrain(Backend& backend, const std::vector<Block>& blocks) : backend_(backend), blocks_(blocks) {}

  struct Scaled {
    float* gradients = nullptr;
    std::size_t count = 0;
    float factor = 1;
  };
  Backend& backend_;
  const std::vector<Block>& blocks_;
  std::vector<bool> takes_;  // per block
  std::unique_ptr<Drain> drain_;
  std::vector<BlockFactors> taken_;
  std::vector<Scaled> scaled_;
};

}  // namespace seng
