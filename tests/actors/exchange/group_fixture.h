// What the exchange's tests share: random blocks, groups and vectors, and the sum along the tree, computed
// another way.
#pragma once

#include <cstdint>
#include <random>
#include <vector>

#include "actors/engine/block.h"
#include "actors/exchange/exchange.h"

namespace seng::testing {

// A generator with a fresh seed, or SENG_TEST_SEED. Print `seed` with SCOPED_TRACE.
struct Random {
  Random();
  explicit Random(std::uint64_t seed) : seed(seed), engine(seed) {}
  std::uint64_t seed;
  std::mt19937_64 engine;

  std::uint32_t below(std::uint32_t bound) { return static_cast<std::uint32_t>(engine() % bound); }
  std::uint32_t between(std::uint32_t low, std::uint32_t high) { return low + below(high - low + 1); }
  bool chance(double p) { return std::uniform_real_distribution<>()(engine) < p; }
  // Values whose sum depends on the order of addition.
  std::vector<float> floats(std::size_t count);
};

// Blocks of all kinds with at most `max_floats` values each (at least 3), offsets as in a network.
std::vector<Block> random_blocks(Random& random, std::size_t count, std::uint32_t max_floats);

// lenet's, with its real sizes.
std::vector<Block> lenet_blocks();

// `actors` members; their ranges cut [0, micro_batches) evenly (the first ones get the rest) or at random.
std::vector<Member> make_members(std::uint32_t actors, std::uint32_t micro_batches);
std::vector<Member> make_random_members(Random& random, std::uint32_t actors, std::uint32_t micro_batches);

// The group as actor `self` sees it.
Group make_group(const std::vector<Block>& blocks, const std::vector<Member>& members, ActorId self,
                 GroupEpoch epoch = {1, 1});

// The sum of leaves[first..last) by recursion over halves, the larger one first.
std::vector<float> tree_sum(const std::vector<std::vector<float>>& leaves, std::size_t first,
                            std::size_t last);

bool same_bits(std::span<const float> a, std::span<const float> b);

}  // namespace seng::testing
