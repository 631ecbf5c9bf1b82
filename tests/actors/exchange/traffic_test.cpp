// The bytes of a step, beside the formula of actors/exchange/README.md.
#include <map>

#include <gtest/gtest.h>

#include "actors/exchange/step_exchange.h"
#include "tests/actors/exchange/group_fixture.h"

namespace seng {
namespace {

// One ordinary step of a whole group; what each member sent.
std::map<ActorId, StepTraffic> step_traffic(const std::vector<Block>& blocks,
                                            const std::vector<Member>& members) {
  std::map<ActorId, std::unique_ptr<StepExchange>> group;
  for (const Member& member : members) {
    auto& exchange = group[member.actor];
    exchange = std::make_unique<StepExchange>(StepExchangeOptions{.block_floats = block_floats(blocks)});
    EXPECT_TRUE(exchange->join(testing::make_group(blocks, members, member.actor)));
    exchange->begin_step(1, false);
  }
  for (const Member& member : members) {
    for (std::uint32_t micro = member.first_micro; micro < member.last_micro; ++micro) {
      for (std::uint32_t block = 0; block < blocks.size(); ++block) {
        const std::vector<float> gradient(blocks[block].count, 1),
            statistics(blocks[block].statistics_count, 1);
        group[member.actor]->add_leaf(block, micro, gradient, statistics);
      }
      group[member.actor]->add_leaf(static_cast<std::uint32_t>(blocks.size()), micro,
                                    std::vector<float>(4, 1), {});
    }
  }
  std::size_t complete = 0;
  for (bool moved = true; moved;) {
    moved = false;
    for (auto& [actor, exchange] : group) {
      for (const Outgoing& outgoing : exchange->take_outgoing()) {
        EXPECT_TRUE(group.at(outgoing.to)->receive(outgoing.message));
        moved = true;
      }
      while (auto event = exchange->next_event()) {
        moved = true;
        if (const auto* summed = std::get_if<BlockSummed>(&*event)) {
          exchange->publish(summed->block, summed->sum, {.inner_product = 1});
        } else {
          ++complete;
        }
      }
    }
  }
  EXPECT_EQ(complete, members.size());
  std::map<ActorId, StepTraffic> traffic;
  for (auto& [actor, exchange] : group) traffic[actor] = exchange->traffic();
  return traffic;
}

double parameters(const std::vector<Block>& blocks) {
  double count = 0;
  for (const Block& block : blocks) count += static_cast<double>(block.count);
  return count;
}

TEST(Traffic, AnOrdinaryStepCostsAReduceScatterAndAnAllGather) {
  const auto blocks = testing::lenet_blocks();
  const std::vector<std::pair<std::uint32_t, std::uint32_t>> cases{{1, 8},  {2, 8},  {4, 8}, {8, 8},
                                                                   {2, 40}, {4, 40}, {2, 7}};
  for (const auto& [actors, micro_batches] : cases) {
    const auto traffic = step_traffic(blocks, testing::make_members(actors, micro_batches));
    double sent = 0;
    for (const auto& [actor, bytes] : traffic) {
      EXPECT_EQ(bytes.fragment_bytes, 0u);
      sent += static_cast<double>(bytes.sum_bytes + bytes.direction_bytes);
    }
    const double average = sent / actors;
    const double first_order = 2.0 * (actors - 1) / actors * parameters(blocks) * sizeof(float);
    EXPECT_GE(average, first_order);
    EXPECT_LE(average, 1.03 * first_order) << actors << " actors, " << micro_batches << " micro-batches";
  }
}

// An actor whose range is cut into s maximal subtrees sends s sums of every block it does not own.
TEST(Traffic, WhereTheRangesAreNoSubtreesTheExtraIsAsDocumented) {
  const auto blocks = testing::lenet_blocks();
  for (const auto& [micro_batches, actors] :
       std::vector<std::pair<std::uint32_t, std::uint32_t>>{{8, 3}, {8, 5}, {7, 4}, {12, 5}}) {
    const auto members = testing::make_members(actors, micro_batches);
    const auto traffic = step_traffic(blocks, members);
    const Placement placement = testing::make_group(blocks, members, 0).placement;
    for (const Member& member : members) {
      double foreign = 0, own = 0;
      for (std::size_t block = 0; block < blocks.size(); ++block) {
        const double bytes = 4.0 * static_cast<double>(blocks[block].count + blocks[block].statistics_count);
        (placement.owner[block] == member.actor ? own : foreign) += bytes;
      }
      const double subtrees = static_cast<double>(
          maximal_subtrees({member.first_micro, member.last_micro}, micro_batches).size());
      const StepTraffic& sent = traffic.at(member.actor);
      EXPECT_GE(static_cast<double>(sent.sum_bytes), subtrees * foreign);
      EXPECT_LE(static_cast<double>(sent.sum_bytes), subtrees * foreign * 1.01 + 2000);
      EXPECT_GE(static_cast<double>(sent.direction_bytes), (actors - 1) * own);
      EXPECT_LE(static_cast<double>(sent.direction_bytes), (actors - 1) * own * 1.01 + 2000);
    }
  }
}

}  // namespace
}  // namespace seng
