#include "actors/exchange/placement.h"

#include <algorithm>
#include <map>
#include <numeric>

#include <gtest/gtest.h>

#include "tests/actors/exchange/group_fixture.h"

namespace seng {
namespace {

using testing::Random;

TEST(Placement, OwnersAreBalancedAsListSchedulingPromises) {
  Random random;
  SCOPED_TRACE("SENG_TEST_SEED=" + std::to_string(random.seed));
  for (int round = 0; round < 200; ++round) {
    const auto blocks = testing::random_blocks(random, random.between(1, 60), 5000);
    const auto members = testing::make_members(random.between(1, 8), 16);
    const PlacementOptions options{.curvature_samples = random.chance(0.5) ? 64u : 0u};
    const Placement placement = place_blocks(blocks, members, options);

    ASSERT_EQ(placement.owner.size(), blocks.size() + 1);
    EXPECT_EQ(placement.owner.back(), members[0].actor);
    std::map<ActorId, double> load;
    double total = 0, largest = 0;
    for (std::size_t i = 0; i < blocks.size(); ++i) {
      const double cost = block_cost(blocks[i], members.size(), options);
      ASSERT_GE(cost, 1);
      load[placement.owner[i]] += cost;
      total += cost;
      largest = std::max(largest, cost);
    }
    for (const auto& [actor, cost] : load) {
      EXPECT_LE(cost, (total / members.size() + largest * (1 - 1.0 / members.size())) * (1 + 1e-12))
          << "actor " << actor;
    }
    EXPECT_EQ(load.size(), std::min(blocks.size(), members.size())) << "somebody owns nothing";
  }
}

TEST(Placement, BackupsAreOthersAndBalanced) {
  Random random;
  SCOPED_TRACE("SENG_TEST_SEED=" + std::to_string(random.seed));
  for (int round = 0; round < 200; ++round) {
    const auto blocks = testing::random_blocks(random, random.between(1, 60), 5000);
    const auto members = testing::make_members(random.between(2, 8), 16);
    const PlacementOptions options{.curvature_samples = 64};
    const Placement placement = place_blocks(blocks, members, options);
    std::map<ActorId, double> kept;
    double owned = 0, total = 0, largest = 0;
    for (std::size_t i = 0; i < blocks.size(); ++i) {
      ASSERT_NE(placement.backup[i], placement.owner[i]);
      ASSERT_TRUE(
          std::ranges::any_of(members, [&](const Member& m) { return m.actor == placement.backup[i]; }));
      const double floats = curvature_floats(blocks[i], options);
      kept[placement.owner[i]] += floats;
      kept[placement.backup[i]] += floats;
      total += 2 * floats;
      largest = std::max(largest, floats);
    }
    for (const Member& member : members) {
      double own = 0;
      for (std::size_t i = 0; i < blocks.size(); ++i) {
        if (placement.owner[i] == member.actor) own += curvature_floats(blocks[i], options);
      }
      owned = std::max(owned, own);
    }
    // Who gets a copy had the least of all but perhaps its owner.
    for (const auto& [actor, floats] : kept) {
      EXPECT_LE(floats, std::max(owned, total / (members.size() - 1)) + largest) << "actor " << actor;
    }
    EXPECT_EQ(placement.backup.back(), kNoActor);
  }
}

TEST(Placement, DependsOnTheOrderOfMembersAndOnNothingElse) {
  Random random;
  SCOPED_TRACE("SENG_TEST_SEED=" + std::to_string(random.seed));
  const auto blocks = testing::random_blocks(random, 30, 2000);
  auto members = testing::make_members(5, 16);
  const Placement first = place_blocks(blocks, members);
  auto others = members;
  for (Member& member : others) {
    member.actor += 100;
    member.node = "elsewhere";
    member.endpoint = "ipc:///tmp/x";
  }
  const Placement second = place_blocks(blocks, others);
  for (std::size_t i = 0; i < first.owner.size(); ++i) {
    EXPECT_EQ(second.owner[i], first.owner[i] + 100);
    EXPECT_EQ(second.backup[i], first.backup[i] == kNoActor ? kNoActor : first.backup[i] + 100);
  }
  EXPECT_EQ(place_blocks(blocks, members).owner, first.owner);
  EXPECT_EQ(place_blocks(blocks, members).backup, first.backup);
}

TEST(Placement, EqualBlocksAreDealtInOrder) {
  std::vector<Block> blocks(6, testing::lenet_blocks()[0]);
  const Placement placement = place_blocks(blocks, testing::make_members(3, 6));
  EXPECT_EQ(placement.owner, (std::vector<ActorId>{0, 1, 2, 0, 1, 2, 0}));
}

TEST(Placement, GroupOfOneOwnsAllAndHasNoBackup) {
  const auto blocks = testing::lenet_blocks();
  const Placement placement = place_blocks(blocks, testing::make_members(1, 8));
  EXPECT_EQ(placement.owner, std::vector<ActorId>(blocks.size() + 1, 0));
  EXPECT_EQ(placement.backup, std::vector<ActorId>(blocks.size() + 1, kNoActor));
}

TEST(Placement, CurvatureMakesAConvolutionDearerThanItsBytes) {
  // lenet's second convolution has an eighth of the first linear layer's parameters and reads as many per
  // sample.
  const auto blocks = testing::lenet_blocks();
  const PlacementOptions sgd{.curvature_samples = 0}, seng{.curvature_samples = 256};
  const double bytes_only = block_cost(blocks[2], 2, sgd) / block_cost(blocks[4], 2, sgd);
  EXPECT_NEAR(bytes_only, double(blocks[2].count) / blocks[4].count, 1e-3);
  EXPECT_GT(block_cost(blocks[2], 2, seng) / block_cost(blocks[4], 2, seng), 2 * bytes_only);
}

}  // namespace
}  // namespace seng
