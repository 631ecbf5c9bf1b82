// A whole group in one thread: every member's StepExchange, and between them a network of the test's own that
// delivers in any order, some messages twice, some much later. Messages pass through their bytes, as on a
// socket.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "actors/exchange/step_exchange.h"
#include "tests/actors/exchange/group_fixture.h"

namespace seng::testing {

struct MemoryGroupOptions {
  std::vector<Block> blocks;
  std::size_t run_floats = 16;
  std::size_t bundle_bytes = 96;
  double duplicate = 0.1;  // of a message: delivered now and once more at any later time
  std::uint32_t refresh_every = 3;
  bool fragment_sizes_known = true;
  double sums = 0.3;  // of the own micro-batches' nodes: their sum is handed in, not the leaves
  ActorId slow_fragments_to = kNoActor;  // its fragments are overtaken by most of what is sent later
};

// What a step's numbers are: functions of (step, block, micro) only, so that every member and the test agree.
class StepNumbers {
 public:
  StepNumbers(std::uint64_t seed, const std::vector<Block>& blocks, std::uint32_t micro_batches);
  std::uint32_t blocks() const { return static_cast<std::uint32_t>(floats_.size()); }
  // Of a node of a tree over all leaves or over others.
  std::vector<float> sum(std::uint64_t step, std::uint32_t block, const LeafRange& node) const;
  std::vector<float> leaf(std::uint64_t step, std::uint32_t block, std::uint32_t micro) const;
  std::vector<float> sum(std::uint64_t step, std::uint32_t block) const;
  std::vector<float> fragment(std::uint64_t step, std::uint32_t block, std::uint32_t micro) const;
  static std::vector<float> direction(std::span<const float> sum);
  static double inner_product(std::uint64_t step, std::uint32_t block) { return 0.1 * double(step) + block; }
  static std::vector<double> model(std::uint64_t step, std::uint32_t block) {
    if (step % 2 == 0) return {};
    return {double(step), -1.5, 0.1 * block, 4};
  }
  // Without the summary; 0 for every fourth block, as `scale` batch norms have none.
  std::vector<std::uint64_t> fragment_floats() const;

 private:
  std::uint64_t seed_;
  std::vector<std::size_t> floats_;  // the summary last
  std::uint32_t micro_batches_;
};

class MemoryGroup {
 public:
  MemoryGroup(Random& random, MemoryGroupOptions options, std::uint32_t micro_batches);

  // A new membership; what is in flight stays there. Members that are known keep their exchange.
  void join(const std::vector<Member>& members, GroupEpoch epoch);
  // Until every member has completed steps (from, to]; or, with at most `ticks` moves, somewhere in between.
  void run(std::uint64_t from, std::uint64_t to, std::uint64_t ticks = ~std::uint64_t{0});

  // Whoever has committed a refresh step may lose any block's owner: the backup has all that the block's
  // curvature is made of.
  void expect_refreshes_are_held();
  std::uint64_t held() const { return held_; }  // blocks that were checked so

  StepExchange& exchange(ActorId actor) { return *members_.at(actor).exchange; }
  std::uint64_t delivered() const { return delivered_; }
  const std::vector<std::string>& errors() const { return errors_; }  // what receive() refused

 private:
  struct Sent {
    ActorId to;
    MessageKind kind;
    std::vector<Frame> frames;
  };
  struct Task {  // the work of a node of micro-batches on a block
    std::uint32_t block;
    LeafRange node;
  };
  struct Peer {
    std::unique_ptr<StepExchange> exchange;
    Group group;
    std::uint64_t step = 0;
    bool open = false;
    std::vector<Task> tasks;
    std::vector<std::pair<std::uint32_t, std::vector<float>>> to_publish;  // block, direction
    std::map<std::pair<std::uint32_t, std::uint32_t>, int> fragments;      // (block, micro) -> times
    StepTraffic sent;  // of the step, as the network saw it
  };

  void begin(Peer& peer, std::uint64_t step);
  void work(Peer& peer);
  void publish(Peer& peer);
  bool fragments_are_in(const Peer& peer, std::uint32_t block) const;
  void take_event(Peer& peer);
  void complete(Peer& peer, const StepComplete& complete);
  void collect(Peer& peer);
  void deliver();
  bool refresh(std::uint64_t step) const { return step % options_.refresh_every == 1; }

  Random& random_;
  const MemoryGroupOptions options_;
  const std::uint32_t micro_batches_;
  const StepNumbers numbers_;
  std::map<ActorId, Peer> members_;  // of the membership
  std::vector<Sent> in_flight_, late_;
  std::vector<std::string> errors_;
  std::uint64_t delivered_ = 0, held_ = 0;
};

}  // namespace seng::testing
