// Members as processes whose gradients NCCL adds (exchange.reduce: fast): one that is none, which adds as a
// ring does, and the real one where there is a GPU.
#include <cstdlib>
#include <set>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/actors/exchange/member_processes.h"

namespace seng {
namespace {

using ::testing::HasSubstr;
using namespace testing;

struct FastWorld : World {
  FastWorld(Random& random, std::uint32_t actors, std::uint32_t micro_batches, const std::string& nccl)
      : World(random, actors, micro_batches, 3000, 700) {
    reduction = Reduction::kFast;
    knows_order = nccl == kEmulated;
  }
  // The first members of another, with its blocks and numbers.
  FastWorld(Random& random, const World& of, std::uint32_t actors)
      : World(random, actors, of.members.back().last_micro, 3000, 700) {
    blocks = of.blocks;
    numbers = of.numbers;
    reduction = of.reduction;
    knows_order = of.knows_order;
    for (std::uint32_t i = 0; i < actors; ++i) members[i].endpoint = of.members[i].endpoint;
  }
};

class FastNcclExchange : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (GetParam() == kEmulated) return;
    if (const std::string why = what_is_missing(kReal); !why.empty()) GTEST_SKIP() << why;
  }
  void steps_give_nccls_sums(std::uint32_t actors, std::uint32_t micro_batches, bool adds_up = false) {
    Random random;
    SCOPED_TRACE("SENG_TEST_SEED=" + std::to_string(random.seed));
    FastWorld world(random, actors, micro_batches, GetParam());
    world.adds_up = adds_up;
    steps_come_to_one_sum(world, GetParam());
  }
};

TEST_P(FastNcclExchange, TwoMembers) {
  steps_give_nccls_sums(2, 8);
}
TEST_P(FastNcclExchange, ThreeMembersWithRangesThatAreNoSubtrees) {
  steps_give_nccls_sums(3, 7);
}
TEST_P(FastNcclExchange, SumsOfPieces) {
  steps_give_nccls_sums(3, 16, true);
}
TEST_P(FastNcclExchange, AMemberWithoutMicroBatchesAddsNothing) {
  steps_give_nccls_sums(4, 3);
}

// Else nothing above would show who adds.
TEST(EmulatedFastExchange, TheOrderOfSumsIsNotTheTrees) {
  Random random;
  SCOPED_TRACE("SENG_TEST_SEED=" + std::to_string(random.seed));
  const FastWorld world(random, 3, 7, kEmulated);
  bool differs = false;
  for (std::uint32_t block = 0; block < world.numbers.blocks(); ++block)
    differs = differs || !same_bits(world.sum(1, block), world.numbers.sum(1, block));
  EXPECT_TRUE(differs);
}

// One is gone in the middle of a step; the others are told so by the daemon, and do it again without it, to
// the sums of two.
void loses_one(const std::string& path) {
  Random random;
  SCOPED_TRACE("SENG_TEST_SEED=" + std::to_string(random.seed));
  FastWorld world(random, 3, 6, path), after(random, world, 2);
  lose_one_in_a_step(world, after, path);
}

TEST_P(FastNcclExchange, TheOthersDoTheStepAgainWhenOneDies) {
  loses_one(GetParam());
}
TEST(EmulatedFastExchange, TheOthersDoTheStepAgainWhenOneDiesAndNobodyNotices) {
  setenv("SENG_EMULATED_NCCL_SILENT", "1", 1);
  loses_one(kEmulated);
  unsetenv("SENG_EMULATED_NCCL_SILENT");
}

INSTANTIATE_TEST_SUITE_P(, FastNcclExchange, ::testing::Values(kEmulated, kReal),
                         [](const auto& info) { return info.param == kReal ? "Real" : "Emulated"; });

// A link that takes whatever comes.
class NoLink : public BlockCarrier {
 public:
  void join(std::shared_ptr<const GroupView>) override {}
  void meet(const std::string&) override {}
  void begin_step(std::uint64_t) override {}
  void add_sum(std::uint32_t block, std::uint32_t node, std::uint32_t, PooledFloats) override {
    sums.emplace_back(block, node);
  }
  void add_direction(std::uint32_t, const PublishWord&, std::vector<Frame>) override {}
  StepTraffic traffic() const override { return {}; }
  std::vector<std::pair<std::uint32_t, std::uint32_t>> sums;
};

// One vector per block leaves, of the blocks that are owned here too; what others send as in ordered groups
// is refused, however well it fits there.
TEST(FastStepExchange, HandsInOneVectorPerBlockAndTakesNoPartialSums) {
  Random random;
  const auto blocks = random_blocks(random, 3, 50);
  const auto members = make_members(3, 7);
  const auto group_of = [&](ActorId self, Reduction reduction) {
    Group group = make_group(blocks, members, self);
    group.path = reduction == Reduction::kFast ? BlockPath::kNccl : BlockPath::kZmq;
    group.reduction = reduction;
    return group;
  };
  const StepExchangeOptions options{.block_floats = block_floats(blocks)};
  StepExchange fast(options), ordered(options);
  const auto link = std::make_shared<NoLink>();
  ASSERT_TRUE(fast.join(group_of(0, Reduction::kFast), link));
  ASSERT_TRUE(ordered.join(group_of(1, Reduction::kOrdered)));
  for (auto* exchange : {&fast, &ordered}) {
    exchange->begin_step(1, false);
    const Member& member = members[exchange == &fast ? 0 : 1];
    for (std::uint32_t micro = member.first_micro; micro < member.last_micro; ++micro) {
      for (std::uint32_t block = 0; block < blocks.size(); ++block)
        exchange->add_leaf(block, micro, random.floats(blocks[block].count),
                           random.floats(blocks[block].statistics_count));
      exchange->add_leaf(3, micro, random.floats(kSummaryFloats), {});
    }
  }
  std::ranges::sort(link->sums);
  EXPECT_EQ(link->sums,
            (std::vector<std::pair<std::uint32_t, std::uint32_t>>{
                {0, SumTree::kRoot}, {1, SumTree::kRoot}, {2, SumTree::kRoot}, {3, SumTree::kRoot}}));
  EXPECT_EQ(fast.awaits(), (std::vector<ActorId>{1, 2}));
  std::size_t refused = 0;
  for (const Outgoing& outgoing : ordered.take_outgoing()) {
    if (outgoing.to != 0) continue;
    const Status received = fast.receive(outgoing.message);
    ASSERT_FALSE(received);
    EXPECT_THAT(received.error().message, HasSubstr("this group's sums and directions travel over NCCL"));
    ++refused;
  }
  EXPECT_GT(refused, 0u);
}

// Where vectors are a device's, what comes on a socket must not get among them.
TEST(StepExchangeOverALink, TakesNoSumsAndDirectionsAsMessages) {
  Random random;
  const auto blocks = random_blocks(random, 3, 50);
  const auto members = make_members(2, 4);
  Group over_link = make_group(blocks, members, 0), by_message = make_group(blocks, members, 1);
  over_link.path = BlockPath::kNccl;
  const StepExchangeOptions options{.block_floats = block_floats(blocks)};
  StepExchange ours(options), peers(options);
  ASSERT_TRUE(ours.join(over_link, std::make_shared<NoLink>()));
  ASSERT_TRUE(peers.join(by_message));
  for (auto* exchange : {&ours, &peers}) exchange->begin_step(1, false);
  for (std::uint32_t micro = members[1].first_micro; micro < members[1].last_micro; ++micro)
    peers.add_leaf(3, micro, random.floats(kSummaryFloats), {});
  for (std::uint32_t block = 0; block < blocks.size(); ++block) {
    for (std::uint32_t micro = members[1].first_micro; micro < members[1].last_micro; ++micro)
      peers.add_leaf(block, micro, random.floats(blocks[block].count),
                     random.floats(blocks[block].statistics_count));
    if (by_message.placement.owner[block] == 1)
      peers.publish(block, random.floats(blocks[block].count + blocks[block].statistics_count), {});
  }
  std::set<std::uint16_t> refused;
  for (const Outgoing& outgoing : peers.take_outgoing()) {
    const Status received = ours.receive(outgoing.message);
    ASSERT_FALSE(received);
    EXPECT_THAT(received.error().message, HasSubstr("this group's sums and directions travel over NCCL"));
    refused.insert(outgoing.message.envelope.kind);
  }
  EXPECT_EQ(refused, (std::set<std::uint16_t>{static_cast<std::uint16_t>(MessageKind::kPartialSums),
                                              static_cast<std::uint16_t>(MessageKind::kDirections)}));
}

// Its nodes are those of a tree over the member's own micro-batches, whatever the whole tree's are.
TEST(FastStepExchange, TakesTheSumsOfItsOwnTreesNodes) {
  Random random;
  const auto blocks = random_blocks(random, 1, 50);
  Group group = make_group(blocks, make_members(2, 10), 1);
  group.members[0].last_micro = group.members[1].first_micro = 3;
  group.path = BlockPath::kNccl;
  group.reduction = Reduction::kFast;
  StepExchange exchange({.block_floats = block_floats(blocks)});
  const auto link = std::make_shared<NoLink>();
  ASSERT_TRUE(exchange.join(group, link));
  exchange.begin_step(1, false);
  const auto gradient = random.floats(blocks[0].count),
             statistics = random.floats(blocks[0].statistics_count);
  const auto summary = random.floats(kSummaryFloats);
  EXPECT_THROW(exchange.add_node(0, {5, 8}, gradient, statistics), InvariantError);
  EXPECT_THROW(exchange.add_node(0, {0, 3}, gradient, statistics), InvariantError);
  exchange.add_node(0, {3, 7}, gradient, statistics);
  EXPECT_TRUE(link->sums.empty());
  exchange.add_node(0, {7, 10}, gradient, statistics);
  exchange.add_node(1, {3, 10}, summary, {});
  EXPECT_EQ(link->sums,
            (std::vector<std::pair<std::uint32_t, std::uint32_t>>{{0, SumTree::kRoot}, {1, SumTree::kRoot}}));
}

}  // namespace
}  // namespace seng
