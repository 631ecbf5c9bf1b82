#include "actors/exchange/round_queue.h"

#include <iterator>
#include <utility>

namespace seng {

void RoundQueue::begin_step(std::uint64_t step) {
  Step& fresh = steps_.emplace_back(Step{step, {}});
  for (const PlannedRound& round : plan_->rounds()) fresh.rounds.push_back({round.owed, {}});
}

void RoundQueue::add_sum(std::uint32_t block, std::uint32_t node, std::uint32_t run, Frame values) {
  const RoundPlan::Place place = plan_->place(block, node);
  const std::size_t offset = plan_->group().grid(block).offset(run) * sizeof(float);
  std::vector<Piece> pieces;
  pieces.push_back({place.offset + offset, std::move(values), plan_->group().on_device(block)});
  add(place.round, std::move(pieces));
}

void RoundQueue::add_direction(std::uint32_t block, const PublishWord& word, std::vector<Frame> runs) {
  const RoundPlan::Place place = plan_->place(block, SumTree::kNone);
  const auto plain = std::make_shared<std::vector<std::byte>>(kWordBytes);
  write_word(word, plain->data());
  std::vector<Piece> pieces;
  pieces.push_back({place.word, Frame(plain, plain->data(), kWordBytes)});
  std::size_t offset = place.offset;
  for (Frame& run : runs) {
    const std::size_t bytes = run.size();
    pieces.push_back({offset, std::move(run), plan_->group().on_device(block)});
    offset += bytes;
  }
  add(place.round, std::move(pieces));
}

void RoundQueue::add(std::size_t round, std::vector<Piece> pieces) {
  SENG_CHECK(!steps_.empty(), "handed in outside of a step");
  Waiting& waiting = steps_.back().rounds[round];
  SENG_CHECK(waiting.owed > 0, "handed in twice");
  --waiting.owed;
  std::move(pieces.begin(), pieces.end(), std::back_inserter(waiting.pieces));
}

bool RoundQueue::comes_early(const Step& step) const {
  for (std::size_t i = next_; i < step.rounds.size() && plan_->rounds()[i].sums; ++i) {
    if (plan_->rounds()[i].owed > 0) return step.rounds[i].owed > 0;
  }
  return false;
}

std::optional<RoundQueue::Ready> RoundQueue::take() {
  while (!steps_.empty() && next_ == plan_->rounds().size() && steps_.size() > 1) {
    steps_.pop_front();
    next_ = 0;
  }
  if (steps_.empty() || next_ == plan_->rounds().size()) return std::nullopt;
  Step& step = steps_.front();
  Waiting& waiting = step.rounds[next_];
  if (waiting.owed > 0 || comes_early(step)) return std::nullopt;
  Ready ready{step.step, given_++, &plan_->rounds()[next_], std::move(waiting.pieces)};
  waiting.pieces = {};
  ++next_;
  return ready;
}

}  // namespace seng
