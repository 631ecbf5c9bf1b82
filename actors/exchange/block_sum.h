// Adds one block's vectors of a step along the fixed tree (tree.h), run by run (run_grid.h), each node
// exactly once as left + right, whatever the order of arrival. Two siblings are combined as soon as both are
// there, so an actor that computes its micro-batches in order holds about log2 of them.
//
//   leaves of this actor ----> [ siblings meet: left + right -> parent ] ----> a target: handed out
//   (Finished) partial sums of peers -->        ^ until a target is reached |
//
// An owner's one target is the root, whose value is built in total(); another actor's targets are the maximal
// subtrees of its range, each handed out in a buffer of its own.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "actors/exchange/float_pool.h"
#include "actors/exchange/run_grid.h"
#include "actors/exchange/tree.h"
#include "protocol/base/bytes.h"
#include "protocol/base/error.h"

namespace seng {

// Thread-safe but for begin(). One mutex per run guards who takes part in which addition; the additions are
// outside.
class BlockSum {
 public:
  struct Finished {  // one run of a target
    std::uint32_t node = 0, run = 0;
    PooledFloats values;          // empty for an owner: they are in total()
    bool block_complete = false;  // owner: this was the last run missing; told once
  };
  struct Added {
    bool duplicate = false;  // was there already; nothing happened
    std::optional<Finished> finished;
  };

  // `tree` outlives this. All vectors are in the pool's memory. `owner`: the target is the root. Otherwise
  // `targets` are disjoint nodes.
  BlockSum(const SumTree& tree, RunGrid grid, std::shared_ptr<FloatPool> pool, bool owner,
           std::vector<std::uint32_t> targets = {});

  // Forgets everything: the next step. Nobody may be adding.
  void begin();

  // One run of this actor's vector [gradient | statistics] (grid().floats together) of a leaf, or of a node
  // that has been added up already; copied or added before it returns, of a device queued. Overlap with
  // something that is there already, or a node below no target, is an error.
  Result<Added> add_node(std::uint32_t node, std::uint32_t run, std::span<const float> gradient,
                         std::span<const float> statistics);
  // One run of a node's value, grid().count(run) floats; the frame is kept while it is needed.
  Result<Added> add_partial(std::uint32_t node, std::uint32_t run, const Frame& values);

  // Leaves that nothing given covers yet, in any run.
  std::vector<bool> missing_leaves() const;

  const RunGrid& grid() const { return grid_; }
  std::span<float> total() { return {total_.data(), owner_ ? grid_.floats : 0}; }  // owner only

 private:
  // A node's value: in a buffer of ours, in a received frame, or borrowed from the caller of add_node.
  struct Value {
    const float* data = nullptr;
    PooledFloats own;
    Frame received;
    bool borrowed = false;
  };
  struct Waiting {
    std::uint32_t node = 0;
    Value value;
  };
  struct Run {
    mutable std::mutex mutex;
    // Guarded by mutex.
    std::vector<Waiting> waiting;  // nodes whose sibling is not there yet
    std::vector<bool> given;       // nodes that came from outside
    std::vector<bool> covered;     // leaves that are in something given
  };

  Result<bool> claim(std::uint32_t node, std::uint32_t run);
  std::optional<Finished> insert(std::uint32_t node, std::uint32_t run, Value value);
  Value combine(std::uint32_t node, std::uint32_t run, Value left, Value right);
  Finished finish(std::uint32_t node, std::uint32_t run, Value value);
  Value copy(const float* data, std::size_t count);
  static bool take(Run& run, std::uint32_t node, Value* value);
  VectorMemory& memory() const { return pool_->memory(); }

  const SumTree& tree_;
  const RunGrid grid_;
  const std::shared_ptr<FloatPool> pool_;
  const bool owner_;
  std::vector<bool> target_;        // per node
  std::vector<bool> below_target_;  // per node: a target or inside one
  PooledFloats total_;              // [grid_.floats], written by whoever completes a run of the root
  std::unique_ptr<Run[]> runs_;
  std::atomic<std::uint32_t> complete_{0};  // runs of the root that are in total_
};

}  // namespace seng
