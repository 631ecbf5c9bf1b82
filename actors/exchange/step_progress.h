// When a step is complete for this actor: every block's direction is here, and, if the step renews curvature,
// every fragment of the blocks that it owns or backs up. Without the second a backup could miss a fragment
// for ever: it comes on another connection than the owner's direction, so it may come later.
//
// Whether a step renews curvature, its first fragment tells: this actor's own precede its gradients and so
// every direction. An actor without micro-batches is told by the driver.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "actors/exchange/group_view.h"

namespace seng {

// Thread-safe but for join().
class StepProgress {
 public:
  void join(std::shared_ptr<const GroupView> group);
  // renews_curvature: known beforehand. It matters where Group::fragment_floats is given.
  void begin(bool renews_curvature);

  // A fragment of the block, or a run of one, is on its way from or to somebody.
  void fragment_seen(std::uint32_t block);
  // A micro-batch's fragment is here, whole. step_complete, as below: true once, to whoever completes it.
  struct Fragments {
    bool block_complete = false, step_complete = false;
  };
  Fragments fragment_complete(std::uint32_t block);
  bool directions_complete();  // all are here

  // The step renews the curvature of this block, which this actor owns or backs up.
  bool renews(std::uint32_t block) const;

 private:
  // Require mutex_.
  void expect(std::uint32_t block);
  void expect_all();
  bool complete();

  std::shared_ptr<const GroupView> group_;
  mutable std::mutex mutex_;
  // Guarded by mutex_.
  std::vector<std::uint32_t> fragments_missing_;  // per block; 0 where none is expected
  std::uint64_t missing_ = 0;                     // their sum
  bool refresh_ = false;                          // the step renews curvature
  std::vector<bool> expected_;                    // per block: counted in fragments_missing_ already
  bool directions_ = false, told_ = false;
};

}  // namespace seng
