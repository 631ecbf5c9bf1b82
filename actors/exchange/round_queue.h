// The rounds of the steps in hand: what has been handed in for them, and which one may be posted next. Pure.
//
// A round in which this rank only receives sums waits for the next in which it sends some: before that nobody
// here wants them, and what waits for them would hold a part of the device that computes.
//
// Rounds leave in the plan's order, step after step. Two steps can be in hand: this rank may have completed
// one, whose last directions of its own have still to leave, when the next begins.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "actors/exchange/round_plan.h"
#include "protocol/base/bytes.h"

namespace seng {

// Not thread-safe.
class RoundQueue {
 public:
  explicit RoundQueue(std::shared_ptr<const RoundPlan> plan) : plan_(std::move(plan)) {}

  void begin_step(std::uint64_t step);
  // A run of a sum that another owns.
  void add_sum(std::uint32_t block, std::uint32_t node, std::uint32_t run, Frame values);
  // A direction of this rank's own, whole, in runs.
  void add_direction(std::uint32_t block, const PublishWord& word, std::vector<Frame> runs);

  struct Piece {  // bytes that go to a place of the staging memory
    std::size_t offset = 0;
    Frame bytes;
    bool on_device = false;  // both
  };
  struct Ready {
    std::uint64_t step = 0;
    std::uint64_t number = 0;  // of all rounds that this queue has given, from 0
    const PlannedRound* round = nullptr;
    std::vector<Piece> pieces;
  };
  // The next round, once all that this rank sends in it is there; each once. Write its pieces only when the
  // round that was given plan().rounds().size() before it has finished: they use the same memory.
  std::optional<Ready> take();

  const RoundPlan& plan() const { return *plan_; }

 private:
  struct Waiting {
    std::uint32_t owed = 0;
    std::vector<Piece> pieces;
  };
  struct Step {
    std::uint64_t step = 0;
    std::vector<Waiting> rounds;
  };
  void add(std::size_t round, std::vector<Piece> pieces);
  bool comes_early(const Step& step) const;

  const std::shared_ptr<const RoundPlan> plan_;
  std::deque<Step> steps_;
  std::size_t next_ = 0;  // round of the first of steps_
  std::uint64_t given_ = 0;
};

}  // namespace seng
