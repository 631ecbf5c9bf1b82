// An exchange whose actor is interrupted in the middle of a step, when it has formed a direction and before
// it has said it.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "actors/exchange/exchange.h"

namespace seng::testing {

class LeavingExchange final : public Exchange {
 public:
  explicit LeavingExchange(Exchange& inner) : inner_(inner) {}

  // So many directions of blocks from here; they are said but for the last.
  void leave_at(std::uint32_t direction) { directions_left_ = direction; }

  Status join(const Group& group, const std::function<bool()>& leaves) override {
    summary_ = static_cast<std::uint32_t>(group.placement.owner.size()) - 1;
    return inner_.join(group, leaves);
  }
  void publish(std::uint32_t block, std::span<const float> direction, const PublishWord& word) override {
    if (block != summary_ && directions_left_ > 0 && --directions_left_ == 0)
      return inner_.interrupt("by the test");
    inner_.publish(block, direction, word);
  }

  void begin_step(std::uint64_t step, bool renews_curvature) override {
    inner_.begin_step(step, renews_curvature);
  }
  void add_leaf(std::uint32_t block, std::uint32_t micro, std::span<const float> gradient,
                std::span<const float> statistics) override {
    inner_.add_leaf(block, micro, gradient, statistics);
  }
  void add_node(std::uint32_t block, const LeafRange& node, std::span<const float> gradient,
                std::span<const float> statistics) override {
    inner_.add_node(block, node, gradient, statistics);
  }
  void add_fragment(std::uint32_t block, std::uint32_t micro, std::vector<float> values) override {
    inner_.add_fragment(block, micro, std::move(values));
  }
  std::span<float> direction_buffer(std::uint32_t block) override { return inner_.direction_buffer(block); }
  void send(ActorId to, std::uint64_t step,
            const std::variant<EvaluationPart, StateDigest, CheckpointShard>& body) override {
    inner_.send(to, step, body);
  }
  ExchangeEvent next() override { return inner_.next(); }
  bool has_event() const override { return inner_.has_event(); }
  std::variant<PeerMessage, Interrupted> next_message(MessageKind kind, std::uint64_t step,
                                                      const std::vector<ActorId>& missing) override {
    return inner_.next_message(kind, step, missing);
  }
  std::optional<PeerMessage> take_message(MessageKind kind, std::uint64_t step) override {
    return inner_.take_message(kind, step);
  }
  void interrupt(std::string reason) override { inner_.interrupt(std::move(reason)); }
  std::vector<FragmentArrived> take_fragments() override { return inner_.take_fragments(); }
  bool interrupted() const override { return inner_.interrupted(); }
  std::vector<ActorId> awaits() const override { return inner_.awaits(); }
  StepTraffic traffic() const override { return inner_.traffic(); }

 private:
  Exchange& inner_;
  std::uint32_t summary_ = 0, directions_left_ = 0;
};

}  // namespace seng::testing
