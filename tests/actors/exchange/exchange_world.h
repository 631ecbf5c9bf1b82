// A group whose members drive real exchanges over sockets, and what a step of theirs must come to.
#pragma once

#include <atomic>
#include <cmath>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "actors/exchange/assembly.h"
#include "actors/exchange/sum_pieces.h"
#include "actors/exchange/zmq_exchange.h"
#include "protocol/base/sha256.h"
#include "tests/actors/exchange/device_vectors.h"
#include "tests/actors/exchange/memory_group.h"
#include "tests/protocol/temp_dir.h"

namespace seng::testing {

inline constexpr const char* kToken = "the job's secret";

struct World {
  World(Random& random, std::uint32_t actors, std::uint32_t micro_batches, std::uint32_t max_floats,
        std::size_t run_floats)
      : blocks(testing::random_blocks(random, 7, max_floats)),
        numbers(random.seed, blocks, micro_batches),
        members(testing::make_members(actors, micro_batches)),
        run_floats(run_floats) {
    for (Member& member : members)
      member.endpoint = "ipc://" + directory.file(fmt::format("a{}", member.actor));
  }

  std::unique_ptr<ZmqExchange> open(ActorId self, const std::string& token = kToken) const {
    ZmqExchangeOptions options;
    options.step.block_floats = block_floats(blocks);
    options.step.limits.run_floats = run_floats;
    options.step.bundle_bytes = run_floats * 2;
    if (members.size() > 1) options.endpoint = members[self].endpoint;
    options.token = token;
    options.linger_ms = linger_ms;
    options.nccl = nccl;
    options.round_bytes = round_bytes;
    auto exchange = ZmqExchange::open(std::move(options));
    EXPECT_TRUE(exchange) << exchange.error().message;
    return exchange ? *std::move(exchange) : nullptr;
  }
  Group group(ActorId self, GroupEpoch epoch = {1, 1}) const {
    Group group = testing::make_group(blocks, members, self, epoch);
    group.fragment_floats = numbers.fragment_floats();
    group.path = nccl != nullptr && members.size() > 1 ? BlockPath::kNccl : BlockPath::kZmq;
    group.reduction = reduction;
    if (device && group.path == BlockPath::kNccl) group.vectors = device->memory();
    return group;
  }
  // What the owner is to find: the tree's sum, or what the emulated NCCL makes of the members' own sums.
  std::vector<float> sum(std::uint64_t step, std::uint32_t block) const {
    if (reduction == Reduction::kOrdered || members.size() < 2) return numbers.sum(step, block);
    const std::size_t owner = testing::make_group(blocks, members, 0).placement.owner[block];
    std::vector<float> ring;
    for (std::size_t i = 1; i <= members.size(); ++i) {
      const Member& member = members[(owner + i) % members.size()];
      std::vector<std::vector<float>> leaves;
      for (std::uint32_t micro = member.first_micro; micro < member.last_micro; ++micro)
        leaves.push_back(numbers.leaf(step, block, micro));
      const std::vector<float> own = leaves.empty() ? std::vector<float>(numbers.leaf(step, block, 0).size())
                                                    : tree_sum(leaves, 0, leaves.size());
      if (ring.empty()) {
        ring = own;
      } else {
        for (std::size_t at = 0; at < ring.size(); ++at) ring[at] = ring[at] + own[at];
      }
    }
    return ring;
  }
  static bool refresh(std::uint64_t step) { return step % 2 == 1; }

  TempDir directory;
  std::vector<Block> blocks;
  StepNumbers numbers;
  std::vector<Member> members;
  std::size_t run_floats;
  int linger_ms = 5000;
  const link::Module* nccl = nullptr;
  std::shared_ptr<DeviceVectors> device =
      {};  // where this process's member keeps its vectors; null: the host
  std::size_t round_bytes = 10'000;
  Reduction reduction = Reduction::kOrdered;
  bool knows_order = true;  // in which sums are added
  bool adds_up = false;     // lanes hand in the sums of pieces, not leaves
};

// What a driver does in a step, its lanes being threads. Returns the reason of an interruption, or "".
class TestDriver {
 public:
  TestDriver(const World& world, ActorId self, ZmqExchange& exchange, int lanes)
      : world_(world),
        self_(self),
        exchange_(exchange),
        lanes_(lanes),
        device_(world.group(self).vectors ? world.device : nullptr) {}

  std::string step(std::uint64_t step) {
    exchange_.begin_step(step);
    compute(step);
    if (device_) device_->forget();
    std::size_t fragments = 0;
    for (;;) {
      ExchangeEvent event = exchange_.next();
      if (auto* interrupted = std::get_if<Interrupted>(&event)) return interrupted->reason;
      if (auto* summed = std::get_if<BlockSummed>(&event)) publish(step, *summed);
      if (auto* fragment = std::get_if<FragmentArrived>(&event)) {
        ++fragments;
        const auto expected = world_.numbers.fragment(step, fragment->block, fragment->micro);
        EXPECT_TRUE(same_bits(fragment->values, expected));
      }
      if (auto* complete = std::get_if<StepComplete>(&event)) {
        check(step, *complete, fragments);
        return "";
      }
    }
  }

  // Of the directions of all steps so far.
  Digest received() { return received_.finish(); }

 private:
  void compute(std::uint64_t step) {
    const Member& member = world_.members[self_];
    const LeafRange own{member.first_micro, member.last_micro};
    std::vector<LeafRange> pieces;
    if (world_.adds_up) {
      pieces = sum_pieces(own_tree(world_.group(self_)), own, lanes_);
    } else {
      for (std::uint32_t micro = own.first; micro < own.last; ++micro) pieces.push_back({micro, micro + 1});
    }
    std::atomic<std::size_t> next{0};
    const auto lane = [&] {
      for (std::size_t i; (i = next.fetch_add(1)) < pieces.size();) {
        // Last layers first, as backward does; the summary at the end, for each micro-batch.
        for (std::uint32_t block = world_.numbers.blocks() - 1; block-- > 0;) add(step, block, pieces[i]);
        for (std::uint32_t micro = pieces[i].first; micro < pieces[i].last; ++micro)
          add(step, world_.numbers.blocks() - 1, {micro, micro + 1});
      }
    };
    std::vector<std::thread> others;
    for (int i = 1; i < lanes_; ++i) others.emplace_back(lane);
    lane();
    for (auto& other : others) other.join();
  }

  void add(std::uint64_t step, std::uint32_t block, const LeafRange& node) {
    for (std::uint32_t micro = node.first; micro < node.last; ++micro) {
      if (World::refresh(step) && block < world_.blocks.size())
        exchange_.add_fragment(block, micro, world_.numbers.fragment(step, block, micro));
    }
    const auto sum = world_.numbers.sum(step, block, node);
    const std::size_t statistics = block < world_.blocks.size() ? world_.blocks[block].statistics_count : 0;
    const std::span<const float> values = on_device(block) ? device_->put(sum) : sum;
    const auto gradient = values.first(values.size() - statistics);
    if (node.size() == 1) {
      exchange_.add_leaf(block, node.first, gradient, values.last(statistics));
    } else {
      exchange_.add_node(block, node, gradient, values.last(statistics));
    }
  }

  bool on_device(std::uint32_t block) const { return device_ && block < world_.blocks.size(); }

  void publish(std::uint64_t step, const BlockSummed& summed) {
    const PublishWord word{.inner_product = StepNumbers::inner_product(step, summed.block)};
    if (!on_device(summed.block)) {
      check_rounding(step, summed.block, summed.sum);
      return exchange_.publish(summed.block, StepNumbers::direction(summed.sum), word);
    }
    device_->memory()->wait();
    const auto sum = device_->get(summed.sum);
    check_rounding(step, summed.block, sum);
    const auto direction = device_->put(StepNumbers::direction(sum));
    if (summed.block % 2 == 1) return exchange_.publish(summed.block, direction, word);
    const std::span<float> buffer = exchange_.direction_buffer(summed.block);
    device_->memory()->copy(direction.data(), buffer.data(), direction.size());
    exchange_.publish(summed.block, buffer, word);
  }

  // Against the sum in double precision.
  void check_rounding(std::uint64_t step, std::uint32_t block, std::span<const float> sum) {
    std::vector<double> exact(sum.size());
    for (std::uint32_t micro = 0; micro < world_.members.back().last_micro; ++micro) {
      const auto leaf = world_.numbers.leaf(step, block, micro);
      for (std::size_t i = 0; i < exact.size(); ++i) exact[i] += leaf[i];
    }
    double error = 0, norm = 0;
    for (std::size_t i = 0; i < exact.size(); ++i) {
      error += std::pow(sum[i] - exact[i], 2);
      norm += exact[i] * exact[i];
    }
    EXPECT_LE(std::sqrt(error), 1e-6 * std::sqrt(norm)) << "step " << step << " block " << block;
  }

  // On the host. A device's are one vector, which stays as it is for who keeps it.
  std::vector<std::vector<float>> directions(const StepComplete& complete) {
    std::vector<std::vector<float>> all;
    if (device_) {
      device_->forget();
      for (std::size_t block = 0; block < kept_.spans.size(); ++block)
        EXPECT_TRUE(same_bits(device_->get(kept_.spans[block]), kept_.values[block])) << "block " << block;
    }
    const JoinedBlocks joined = join_blocks(block_floats(world_.blocks));
    for (std::uint32_t block = 0; block < complete.directions.size(); ++block) {
      const auto direction = complete.directions[block];
      all.push_back(on_device(block) ? device_->get(direction)
                                     : std::vector(direction.begin(), direction.end()));
      if (on_device(block)) {
        EXPECT_EQ(direction.data(), complete.directions[0].data() + joined.offsets[block]);
      }
    }
    EXPECT_EQ(complete.keeps != nullptr, device_ != nullptr);
    kept_ = {complete.directions, all, complete.keeps};
    kept_.spans.resize(device_ ? world_.blocks.size() : 0);
    return all;
  }

  void check(std::uint64_t step, const StepComplete& complete, std::size_t fragments) {
    const auto came = directions(complete);
    for (std::uint32_t block = 0; block < world_.numbers.blocks(); ++block) {
      received_.update(came[block].data(), came[block].size() * sizeof(float));
      if (world_.knows_order) {
        const auto expected = StepNumbers::direction(world_.sum(step, block));
        EXPECT_TRUE(same_bits(came[block], expected)) << "step " << step << " block " << block;
      }
      EXPECT_EQ(complete.inner_products[block], StepNumbers::inner_product(step, block));
    }
    std::size_t expected = 0;
    const Group group = world_.group(self_);
    const auto floats = world_.numbers.fragment_floats();
    for (std::size_t block = 0; block < floats.size() && World::refresh(step); ++block) {
      const bool here = group.placement.owner[block] == self_ || group.placement.backup[block] == self_;
      if (here && floats[block] > 0) expected += group.micro_batches;
    }
    EXPECT_EQ(fragments, expected);
    const StepTraffic traffic = exchange_.traffic();
    // Its own fragments go out, and its word that it holds those of a block that it backs up.
    const Member& self = world_.members[self_];
    bool sends = false;
    for (std::size_t block = 0; block < floats.size(); ++block) {
      const bool backs_up = group.placement.backup[block] == self_;
      sends |= floats[block] > 0 && (backs_up || self.first_micro < self.last_micro);
    }
    EXPECT_EQ(traffic.fragment_bytes > 0, World::refresh(step) && world_.members.size() > 1 && sends);
    EXPECT_EQ(traffic.sum_bytes + traffic.direction_bytes > 0, world_.members.size() > 1);
  }

  const World& world_;
  const ActorId self_;
  ZmqExchange& exchange_;
  const int lanes_;
  const std::shared_ptr<DeviceVectors> device_;  // null: vectors are the host's
  struct Kept {
    std::vector<std::span<const float>> spans;
    std::vector<std::vector<float>> values;
    std::shared_ptr<const void> keeps;
  } kept_;  // of the step before
  Sha256 received_;
};

// Runs `body(actor)` on a thread per member.
inline void for_each_member(const World& world, const std::function<void(ActorId)>& body) {
  std::vector<std::thread> threads;
  for (const Member& member : world.members) threads.emplace_back([&, actor = member.actor] { body(actor); });
  for (auto& thread : threads) thread.join();
}

}  // namespace seng::testing
