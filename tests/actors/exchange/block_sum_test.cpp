#include "actors/exchange/block_sum.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <numeric>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/actors/exchange/group_fixture.h"

namespace seng {
namespace {

using testing::Random;
using testing::same_bits;
using testing::tree_sum;

Frame frame_of(std::span<const float> values) {
  return Frame::copy_of(values.data(), values.size_bytes());
}

// The same bytes at an address that no float may have.
Frame unaligned_frame_of(std::span<const float> values) {
  std::string bytes(values.size_bytes() + 1, '\0');
  std::memcpy(bytes.data() + 1, values.data(), values.size_bytes());
  const Frame frame = Frame::from_string(std::move(bytes));
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(frame.data()) % alignof(float), 0u);
  return frame.part(1, values.size_bytes());
}

struct Leaves {
  Leaves(Random& random, std::uint32_t count, std::size_t floats) {
    for (std::uint32_t i = 0; i < count; ++i) values.push_back(random.floats(floats));
  }
  std::vector<std::vector<float>> values;
};

TEST(BlockSum, AnyOrderOfLeavesAndPartialsGivesTheTreesBits) {
  Random random;
  SCOPED_TRACE("SENG_TEST_SEED=" + std::to_string(random.seed));
  for (int round = 0; round < 300; ++round) {
    const std::uint32_t micro_batches = random.between(1, 20);
    const RunGrid grid{random.between(1, 50), random.between(1, 60)};
    const std::size_t statistics = random.below(static_cast<std::uint32_t>(grid.floats));
    const SumTree tree(micro_batches);
    const Leaves leaves(random, micro_batches, grid.floats);
    // What arrives: per run of the grid, its own cut of the leaves into nodes.
    std::vector<std::pair<std::uint32_t, std::uint32_t>> arrivals;  // node, run
    for (std::uint32_t run = 0; run < grid.runs(); ++run) {
      std::vector<std::uint32_t> open{SumTree::kRoot};
      while (!open.empty()) {
        const std::uint32_t node = open.back();
        open.pop_back();
        const LeafRange range = tree.range(node);
        if (range.size() == 1 || random.chance(0.2)) {
          arrivals.emplace_back(node, run);
        } else {
          open.push_back(*tree.find({range.first, split_point(range)}));
          open.push_back(*tree.find({split_point(range), range.last}));
        }
      }
    }
    std::shuffle(arrivals.begin(), arrivals.end(), random.engine);

    BlockSum sum(tree, grid, FloatPool::create(), true);
    int completions = 0;
    for (const auto& [node, run] : arrivals) {
      const LeafRange range = tree.range(node);
      Result<BlockSum::Added> added;
      if (range.size() == 1 && random.chance(0.5)) {
        const std::span<const float> leaf = leaves.values[range.first];
        added = sum.add_node(tree.leaf(range.first), run, leaf.first(grid.floats - statistics),
                             leaf.last(statistics));
      } else {
        const auto value = tree_sum(leaves.values, range.first, range.last);
        const std::span<const float> whole = value;
        const auto part = std::span(value).subspan(grid.offset(run), grid.count(run));
        if (random.chance(0.5)) {
          added = sum.add_node(node, run, whole.first(grid.floats - statistics), whole.last(statistics));
        } else {
          added = sum.add_partial(node, run, random.chance(0.5) ? frame_of(part) : unaligned_frame_of(part));
        }
      }
      ASSERT_TRUE(added) << added.error().message;
      EXPECT_FALSE(added->duplicate);
      if (added->finished && added->finished->block_complete) ++completions;
    }
    EXPECT_EQ(completions, 1);
    EXPECT_TRUE(same_bits(sum.total(), tree_sum(leaves.values, 0, micro_batches)));
  }
}

TEST(BlockSum, HandsOutTheMaximalSubtreesOfARange) {
  Random random;
  SCOPED_TRACE("SENG_TEST_SEED=" + std::to_string(random.seed));
  for (int round = 0; round < 200; ++round) {
    const std::uint32_t micro_batches = random.between(1, 20);
    const SumTree tree(micro_batches);
    const std::uint32_t first = random.below(micro_batches), last = random.between(first + 1, micro_batches);
    const RunGrid grid{random.between(1, 40), 8};
    const Leaves leaves(random, micro_batches, grid.floats);
    BlockSum sum(tree, grid, FloatPool::create(), false, tree.maximal_subtrees({first, last}));
    std::vector<std::uint32_t> order(last - first);
    std::iota(order.begin(), order.end(), first);
    std::shuffle(order.begin(), order.end(), random.engine);
    std::map<std::uint32_t, std::vector<float>> found;
    for (const std::uint32_t micro : order) {
      for (std::uint32_t run = 0; run < grid.runs(); ++run) {
        auto added = sum.add_node(tree.leaf(micro), run, leaves.values[micro], {});
        ASSERT_TRUE(added);
        if (!added->finished) continue;
        auto& value = found[added->finished->node];
        value.resize(grid.floats);
        std::copy_n(added->finished->values.data(), grid.count(run), value.begin() + grid.offset(run));
      }
    }
    ASSERT_EQ(found.size(), tree.maximal_subtrees({first, last}).size());
    for (const auto& [node, value] : found) {
      const LeafRange range = tree.range(node);
      EXPECT_TRUE(same_bits(value, tree_sum(leaves.values, range.first, range.last))) << to_string(range);
    }
  }
}

TEST(BlockSum, IgnoresDuplicatesAndNamesOverlaps) {
  const SumTree tree(8);
  const RunGrid grid{4, 4};
  const std::vector<float> ones(4, 1);
  BlockSum sum(tree, grid, FloatPool::create(), true);
  const auto pair = *tree.find({2, 4});
  ASSERT_TRUE(sum.add_partial(pair, 0, frame_of(ones)));
  auto again = sum.add_partial(pair, 0, frame_of(ones));
  ASSERT_TRUE(again);
  EXPECT_TRUE(again->duplicate);
  for (const LeafRange& range : {LeafRange{0, 4}, LeafRange{0, 8}, LeafRange{3, 4}}) {
    const auto refused = sum.add_partial(*tree.find(range), 0, frame_of(ones));
    ASSERT_FALSE(refused) << to_string(range);
    EXPECT_THAT(refused.error().message, ::testing::HasSubstr(to_string(range)));
    EXPECT_THAT(refused.error().message, ::testing::HasSubstr("overlaps"));
    EXPECT_FALSE(sum.add_node(*tree.find(range), 0, ones, {})) << to_string(range);
  }
  again = sum.add_node(pair, 0, ones, {});
  ASSERT_TRUE(again);
  EXPECT_TRUE(again->duplicate);
  ASSERT_FALSE(sum.add_node(tree.leaf(2), 0, ones, {}));
  // Nothing of that left a trace: the rest completes to the right sum.
  for (const std::uint32_t micro : {0, 1, 4, 5, 6, 7})
    ASSERT_TRUE(sum.add_node(tree.leaf(micro), 0, ones, {}));
  EXPECT_THAT(sum.total(), ::testing::Each(7.0f));
  const auto late = sum.add_node(tree.leaf(7), 0, ones, {});
  ASSERT_TRUE(late);
  EXPECT_TRUE(late->duplicate);
  EXPECT_THAT(sum.total(), ::testing::Each(7.0f));
}

TEST(BlockSum, RefusesWhatLiesBelowNoTarget) {
  const SumTree tree(8);
  BlockSum sum(tree, {4, 4}, FloatPool::create(), false, tree.maximal_subtrees({2, 4}));
  const std::vector<float> ones(4, 1);
  for (const LeafRange& range : {LeafRange{4, 8}, LeafRange{0, 4}, LeafRange{5, 6}}) {
    const auto refused = sum.add_partial(*tree.find(range), 0, frame_of(ones));
    ASSERT_FALSE(refused);
    EXPECT_THAT(refused.error().message, ::testing::HasSubstr("not expected"));
  }
}

TEST(BlockSum, AllocatesNothingAfterTheFirstStep) {
  Random random;
  SCOPED_TRACE("SENG_TEST_SEED=" + std::to_string(random.seed));
  const SumTree tree(13);
  const RunGrid grid{100, 32};
  const Leaves leaves(random, 13, grid.floats);
  const auto pool = FloatPool::create();
  BlockSum sum(tree, grid, pool, true);
  std::uint64_t after_first = 0;
  for (int step = 0; step < 5; ++step) {
    sum.begin();
    for (std::uint32_t micro = 0; micro < 13; ++micro) {
      for (std::uint32_t run = 0; run < grid.runs(); ++run)
        ASSERT_TRUE(sum.add_node(tree.leaf(micro), run, leaves.values[micro], {}));
    }
    EXPECT_TRUE(same_bits(sum.total(), tree_sum(leaves.values, 0, 13)));
    if (step == 0) after_first = pool->allocations();
  }
  EXPECT_EQ(pool->allocations(), after_first);
  // In ascending order at most three nodes of 13 leaves wait, as [0, 7), [7, 10) and [10, 11); and the whole.
  EXPECT_EQ(after_first, 3 * grid.runs() + 1);
}

TEST(BlockSum, ManyLanesAtOnce) {
  Random random;
  SCOPED_TRACE("SENG_TEST_SEED=" + std::to_string(random.seed));
  constexpr std::uint32_t kMicroBatches = 24;
  const SumTree tree(kMicroBatches);
  const RunGrid grid{5000, 1024};
  const Leaves leaves(random, kMicroBatches, grid.floats);
  const auto expected = tree_sum(leaves.values, 0, kMicroBatches);
  BlockSum sum(tree, grid, FloatPool::create(), true);
  for (int round = 0; round < 20; ++round) {
    sum.begin();
    std::atomic<std::uint32_t> next{0};
    std::atomic<int> completions{0};
    std::vector<std::thread> lanes;
    for (int lane = 0; lane < 4; ++lane) {
      lanes.emplace_back([&] {
        for (std::uint32_t micro; (micro = next.fetch_add(1)) < kMicroBatches;) {
          for (std::uint32_t run = 0; run < grid.runs(); ++run) {
            auto added = sum.add_node(tree.leaf(micro), run, leaves.values[micro], {});
            if (!added || !added->finished || !added->finished->block_complete) continue;
            // Whoever is told sees every run.
            if (same_bits(sum.total(), expected)) ++completions;
          }
        }
      });
    }
    for (auto& lane : lanes) lane.join();
    EXPECT_EQ(completions, 1);
  }
}

TEST(FloatPool, GivesBuffersBackFromFramesToo) {
  const auto pool = FloatPool::create();
  float* first = nullptr;
  {
    PooledFloats floats = pool->take(10);
    first = floats.data();
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(first) % 64, 0u);
    const auto shared = std::move(floats).share();
    EXPECT_FALSE(floats);
    EXPECT_NE(pool->take(10).data(), first);
  }
  const PooledFloats a = pool->take(10), b = pool->take(10);
  EXPECT_TRUE(a.data() == first || b.data() == first);
  EXPECT_EQ(pool->allocations(), 2u);
  EXPECT_EQ(pool->bytes(), 80u);
  { const PooledFloats other = pool->take(11); }
  EXPECT_EQ(pool->bytes(), 124u);
  pool->trim();
  EXPECT_EQ(pool->bytes(), 80u);
}

}  // namespace
}  // namespace seng
