#include "tests/actors/exchange/group_fixture.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>

#include "actors/exchange/placement.h"

namespace seng::testing {
namespace {

Block make_block(BlockKind kind, int m, int n, int positions, bool bias) {
  Block block;
  block.kind = kind;
  block.m = m;
  block.n = n;
  block.positions = positions;
  block.bias = bias;
  block.count = std::size_t(m) * n + (bias ? m : 0);
  block.statistics_count = kind == BlockKind::kBatchNorm ? 2 * std::size_t(m) : 0;
  return block;
}

void lay_out(std::vector<Block>& blocks) {
  std::size_t offset = 0, statistics = 0;
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    blocks[i].name = "block" + std::to_string(i);
    blocks[i].offset = offset;
    blocks[i].statistics_offset = statistics;
    offset += blocks[i].count;
    statistics += blocks[i].statistics_count;
  }
}

}  // namespace

Random::Random()
    : Random([] {
        const char* fixed = std::getenv("SENG_TEST_SEED");
        return fixed ? std::strtoull(fixed, nullptr, 10) : std::uint64_t{std::random_device{}()};
      }()) {}

std::vector<float> Random::floats(std::size_t count) {
  std::vector<float> values(count);
  for (float& value : values) {
    // A random sign and mantissa, an exponent from -12 to 11.
    const std::uint64_t bits = engine();
    const auto mantissa = static_cast<float>(static_cast<std::int32_t>(bits)) * 0x1p-31f;
    value = std::ldexp(mantissa, static_cast<int>((bits >> 32) % 24) - 12);
  }
  return values;
}

std::vector<Block> random_blocks(Random& random, std::size_t count, std::uint32_t max_floats) {
  std::vector<Block> blocks;
  for (std::size_t i = 0; i < count; ++i) {
    const auto kind = static_cast<BlockKind>(random.below(3));
    if (kind == BlockKind::kBatchNorm) {
      const int channels = static_cast<int>(random.between(1, std::max(1u, max_floats / 4)));
      blocks.push_back(make_block(kind, channels, 1, 16, true));
    } else {
      const int m = static_cast<int>(random.between(1, std::max(1u, max_floats / 8)));
      const int n = static_cast<int>(random.between(1, std::max(1u, max_floats / m - 1)));
      blocks.push_back(make_block(kind, m, n, kind == BlockKind::kLinear ? 1 : 25, random.chance(0.5)));
    }
  }
  lay_out(blocks);
  return blocks;
}

std::vector<Block> lenet_blocks() {
  std::vector<Block> blocks{make_block(BlockKind::kConvolution, 32, 25, 784, true),
                            make_block(BlockKind::kBatchNorm, 32, 1, 784, true),
                            make_block(BlockKind::kConvolution, 64, 800, 196, true),
                            make_block(BlockKind::kBatchNorm, 64, 1, 196, true),
                            make_block(BlockKind::kLinear, 128, 3136, 1, true),
                            make_block(BlockKind::kLinear, 10, 128, 1, true)};
  lay_out(blocks);
  return blocks;
}

std::vector<Member> make_members(std::uint32_t actors, std::uint32_t micro_batches) {
  std::vector<Member> members;
  std::uint32_t next = 0;
  for (std::uint32_t i = 0; i < actors; ++i) {
    const std::uint32_t size = micro_batches / actors + (i < micro_batches % actors ? 1 : 0);
    members.push_back({i, "node", "", next, next + size});
    next += size;
  }
  return members;
}

std::vector<Member> make_random_members(Random& random, std::uint32_t actors, std::uint32_t micro_batches) {
  std::vector<std::uint32_t> cuts{0, micro_batches};
  for (std::uint32_t i = 1; i < actors; ++i) cuts.push_back(random.below(micro_batches + 1));
  std::sort(cuts.begin(), cuts.end());
  // Ids with gaps, in no order.
  std::vector<ActorId> ids;
  for (std::uint32_t i = 0; i < 3 * actors; ++i) ids.push_back(i);
  std::shuffle(ids.begin(), ids.end(), random.engine);
  std::vector<Member> members;
  for (std::uint32_t i = 0; i < actors; ++i) members.push_back({ids[i], "node", "", cuts[i], cuts[i + 1]});
  return members;
}

Group make_group(const std::vector<Block>& blocks, const std::vector<Member>& members, ActorId self,
                 GroupEpoch epoch) {
  Group group;
  group.job = 7;
  group.epoch = epoch;
  group.self = self;
  group.micro_batches = members.back().last_micro;
  group.members = members;
  group.placement = place_blocks(blocks, members, {.curvature_samples = 16});
  return group;
}

std::vector<float> tree_sum(const std::vector<std::vector<float>>& leaves, std::size_t first,
                            std::size_t last) {
  if (last - first == 1) return leaves[first];
  const std::size_t half = (last - first) / 2 + (last - first) % 2;
  std::vector<float> sum = tree_sum(leaves, first, first + half);
  const std::vector<float> right = tree_sum(leaves, first + half, last);
  for (std::size_t i = 0; i < sum.size(); ++i) sum[i] = sum[i] + right[i];
  return sum;
}

bool same_bits(std::span<const float> a, std::span<const float> b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}

}  // namespace seng::testing
