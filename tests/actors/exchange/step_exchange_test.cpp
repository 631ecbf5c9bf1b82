#include "actors/exchange/step_exchange.h"

#include <functional>
#include <thread>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/actors/exchange/memory_group.h"

namespace seng {
namespace {

using ::testing::HasSubstr;
using testing::MemoryGroup;
using testing::MemoryGroupOptions;
using testing::Random;

class StepExchangeSizes : public ::testing::TestWithParam<std::tuple<std::uint32_t, std::uint32_t>> {};

// The heart: any order of delivery, duplicates, messages of steps past, ranges at random: every member gets
// the bits of the sequential sum, all fragments, and counts exactly what it sent.
TEST_P(StepExchangeSizes, EveryMemberGetsTheTreesBitsInAnyOrder) {
  const auto [micro_batches, actors] = GetParam();
  Random random;
  SCOPED_TRACE("SENG_TEST_SEED=" + std::to_string(random.seed));
  MemoryGroupOptions options{.blocks = testing::random_blocks(random, random.between(6, 9), 60)};
  const auto members = testing::make_random_members(random, actors, micro_batches);
  // An actor without micro-batches must know of the fragments to come.
  const bool idle =
      std::ranges::any_of(members, [](const Member& m) { return m.first_micro == m.last_micro; });
  options.fragment_sizes_known = idle || random.chance(0.5);
  MemoryGroup group(random, options, micro_batches);
  group.join(members, {1, 1});
  group.run(0, 5);
  EXPECT_THAT(group.errors(), ::testing::IsEmpty());
}

std::string size_name(const ::testing::TestParamInfo<std::tuple<std::uint32_t, std::uint32_t>>& info) {
  return fmt::format("V{}M{}", std::get<0>(info.param), std::get<1>(info.param));
}
INSTANTIATE_TEST_SUITE_P(All, StepExchangeSizes,
                         ::testing::Combine(::testing::Range(1u, 17u), ::testing::Range(1u, 7u)), size_name);

TEST(StepExchange, AMembershipChangeInMidStepLosesAndMixesNothing) {
  Random random;
  SCOPED_TRACE("SENG_TEST_SEED=" + std::to_string(random.seed));
  for (int round = 0; round < 20; ++round) {
    MemoryGroup group(random, {.blocks = testing::random_blocks(random, 8, 60), .duplicate = 0.2}, 8);
    auto members = testing::make_random_members(random, 4, 8);
    group.join(members, {1, 1});
    group.run(0, 3, random.between(1, 3000));
    // One goes, one comes; the step numbers are those of the members before, only the epoch differs.
    members.erase(members.begin() + random.below(4));
    members.push_back({100, "node", "", 0, 0});
    const auto cut = testing::make_members(4, 8);
    for (std::size_t i = 0; i < 4; ++i) {
      members[i].first_micro = cut[i].first_micro;
      members[i].last_micro = cut[i].last_micro;
    }
    group.join(members, {1, 2});
    group.run(0, 4);
    EXPECT_THAT(group.errors(), ::testing::IsEmpty());
  }
}

// Seen at random moments around the end of a refresh step.
TEST(StepExchange, ACommittedRefreshHasTwoHolders) {
  Random random;
  SCOPED_TRACE("SENG_TEST_SEED=" + std::to_string(random.seed));
  std::uint64_t held = 0;
  for (int round = 0; round < 300; ++round) {
    MemoryGroup group(random, {.blocks = testing::random_blocks(random, 4, 20), .slow_fragments_to = 1}, 4);
    group.join(testing::make_random_members(random, 3, 4), {1, 1});
    group.run(0, 1, random.between(50, 1000));
    group.expect_refreshes_are_held();
    held += group.held();
  }
  EXPECT_GT(held, 0u);
}

TEST(StepExchange, CountsWhatIsStale) {
  const auto blocks = testing::lenet_blocks();
  const auto members = testing::make_members(2, 2);
  StepExchange one({.block_floats = block_floats(blocks)}), other({.block_floats = block_floats(blocks)});
  ASSERT_TRUE(one.join(testing::make_group(blocks, members, 0, {1, 1})));
  ASSERT_TRUE(other.join(testing::make_group(blocks, members, 1, {1, 1})));
  other.begin_step(1, false);
  for (std::uint32_t block = 0; block < blocks.size(); ++block) {
    other.add_leaf(block, 1, std::vector<float>(blocks[block].count),
                   std::vector<float>(blocks[block].statistics_count));
  }
  other.add_leaf(static_cast<std::uint32_t>(blocks.size()), 1, std::vector<float>(kSummaryFloats), {});
  const auto sent = other.take_outgoing();
  ASSERT_FALSE(sent.empty());
  Message message = sent[0].message;
  message.envelope.epoch = {1, 0};
  EXPECT_TRUE(one.receive(message));
  message = sent[0].message;
  message.envelope.job = 8;
  EXPECT_TRUE(one.receive(message));
  EXPECT_EQ(one.counters().stale, 2u);
  one.begin_step(5, false);
  EXPECT_TRUE(one.receive(sent[0].message));
  EXPECT_EQ(one.counters().stale, 3u);
  EXPECT_EQ(one.counters().refused, 0u);
}

// A group of two with V = 4, [0, 3) and [3, 4), seen by actor 0 (the leader); blocks 0 and 1 of 40 floats.
class Refusals : public ::testing::Test {
 protected:
  static constexpr std::size_t kFloats = 40, kRun = 16;

  Refusals()
      : exchange_({.block_floats = {kFloats, kFloats},
                   .limits = {.run_floats = kRun, .max_fragment_floats = 100}}) {
    group_.job = 7;
    group_.epoch = {3, 4};
    group_.self = 0;
    group_.micro_batches = 4;
    group_.members = {{0, "n", "", 0, 3}, {1, "n", "", 3, 4}};
    group_.placement.owner = {0, 1, 0};
    group_.placement.backup = {1, 0, kNoActor};
    EXPECT_TRUE(exchange_.join(group_));
    exchange_.begin_step(10, false);
  }

  Envelope envelope() const {
    Envelope envelope;
    envelope.job = 7;
    envelope.epoch = {3, 4};
    envelope.step = 10;
    envelope.from = 1;
    return envelope;
  }
  static Frame floats(std::size_t count) {
    const std::vector<float> values(count, 1);
    return Frame::copy_of(values.data(), values.size() * sizeof(float));
  }
  void refused(const Message& message, const std::string& why) {
    const auto before = exchange_.counters();
    const Status status = exchange_.receive(message);
    ASSERT_FALSE(status) << why;
    EXPECT_THAT(status.error().message, HasSubstr(why));
    EXPECT_THAT(status.error().message, HasSubstr("from actor"));
    EXPECT_EQ(exchange_.counters().refused, before.refused + 1);
    EXPECT_FALSE(exchange_.has_event());
  }
  template <class Body>
  void refused(const Body& body, std::size_t payload, const std::string& why) {
    refused(make_message(envelope(), body, {floats(payload)}), why);
  }
  // The whole step with what is right, after all that was wrong.
  void step_completes() {
    for (std::uint32_t micro = 0; micro < 3; ++micro) {
      for (std::uint32_t block = 0; block < 2; ++block)
        exchange_.add_leaf(block, micro, std::vector<float>(kFloats, 1), {});
      exchange_.add_leaf(2, micro, std::vector<float>(4, 1), {});
    }
    complete_from_the_peer();
  }
  void complete_from_the_peer() {
    const PartialSums sums{{{0, 3, 4, 0, 16}, {0, 3, 4, 16, 16}, {0, 3, 4, 32, 8}, {2, 3, 4, 0, 4}}};
    ASSERT_TRUE(exchange_.receive(make_message(envelope(), sums, {floats(44)})));
    for (int i = 0; i < 2; ++i) {
      const auto event = exchange_.next_event();
      ASSERT_TRUE(event);
      const auto& summed = std::get<BlockSummed>(*event);
      EXPECT_THAT(summed.sum, ::testing::Each(4.0f));
      exchange_.publish(summed.block, summed.sum,
                        {.inner_product = 1.5, .flags = summed.block == 2 ? 1u : 0u});
    }
    const Directions directions{{{1, 32, 8, 2.5}, {1, 0, 16, 2.5}, {1, 16, 16, 2.5}}};
    ASSERT_TRUE(exchange_.receive(make_message(envelope(), directions, {floats(40)})));
    const auto event = exchange_.next_event();
    ASSERT_TRUE(event);
    const auto& complete = std::get<StepComplete>(*event);
    EXPECT_EQ(complete.inner_products, (std::vector<double>{1.5, 2.5, 1.5}));
    EXPECT_EQ(complete.flags, 1u);
    EXPECT_THAT(complete.directions[1], ::testing::Each(1.0f));
  }

  Group group_;
  StepExchange exchange_;
};

TEST_F(Refusals, Sums) {
  refused(PartialSums{}, 0, "no parts");
  refused(PartialSums{{{3, 3, 4, 0, 16}}}, 16, "block 3 of 3");
  refused(PartialSums{{{~0u, 3, 4, 0, 16}}}, 16, "block 4294967295");
  refused(PartialSums{{{1, 3, 4, 0, 16}}}, 16, "actor 1's, not ours");
  refused(PartialSums{{{0, 2, 4, 0, 16}}}, 16, "not within the sender's");
  refused(PartialSums{{{0, 1, 4, 0, 16}}}, 16, "no node of the tree");
  refused(PartialSums{{{0, 3, 3, 0, 16}}}, 16, "no node of the tree");
  refused(PartialSums{{{0, 4, 3, 0, 16}}}, 16, "no node of the tree");
  refused(PartialSums{{{0, 3, 400, 0, 16}}}, 16, "no node of the tree");
  refused(PartialSums{{{0, 3, 4, 1, 16}}}, 16, "at offset 1");
  refused(PartialSums{{{0, 3, 4, 48, 0}}}, 0, "at offset 48");
  refused(PartialSums{{{0, 3, 4, 0, 40}}}, 40, "40 values");
  refused(PartialSums{{{0, 3, 4, 0, 0}}}, 0, "0 values");
  refused(PartialSums{{{0, 3, 4, ~std::uint64_t{0}, ~std::uint64_t{0}}}}, 1,
          "at offset 18446744073709551615");
  refused(PartialSums{{{0, 3, 4, 0, 16}}}, 15, "60 bytes of payload for 16 values");
  refused(PartialSums{{{0, 3, 4, 0, 16}}}, 17, "68 bytes of payload for 16 values");
  refused(make_message(envelope(), PartialSums{{{0, 3, 4, 0, 16}}}), "0 payload frames");
  refused(make_message(envelope(), PartialSums{{{0, 3, 4, 0, 16}}}, {floats(16), floats(16)}),
          "2 payload frames");
  // The second part's number is in the error, and the good first part has not been taken.
  refused(PartialSums{{{0, 3, 4, 0, 16}, {0, 3, 4, 16, 15}}}, 31, "parts[1]");
  step_completes();
  EXPECT_EQ(exchange_.counters().duplicates, 0u);
}

TEST_F(Refusals, Directions) {
  refused(Directions{{{0, 0, 16, 1}}}, 16, "owner is actor 0");
  refused(Directions{{{2, 0, 4, 1}}, 1}, 4, "owner is actor 0");
  refused(Directions{{{9, 0, 16, 1}}}, 16, "block 9 of 3");
  refused(Directions{{{1, 8, 16, 1}}}, 16, "at offset 8");
  refused(Directions{{{1, 32, 16, 1}}}, 16, "16 values at offset 32");
  refused(Directions{{{1, 0, 16, 1, false, 0, 0, {1, 2, 3}}}}, 16, "a model of 3 numbers instead of 4");
  refused(Directions{}, 0, "no parts");
  // A good part does not carry flags for a block that is not the leader's.
  step_completes();
}

TEST_F(Refusals, Fragments) {
  refused(Fragment{2, 3, 0, 16, 40}, 16, "fragment of the summary");
  refused(Fragment{7, 3, 0, 16, 40}, 16, "block 7");
  refused(Fragment{0, 2, 0, 16, 40}, 16, "not within the sender's");
  refused(Fragment{0, 4, 0, 16, 40}, 16, "not within the sender's");
  refused(Fragment{0, 3, 0, 16, 101}, 16, "at most 100");
  refused(Fragment{0, 3, 0, 16, ~std::uint64_t{0}}, 16, "at most 100");
  refused(Fragment{0, 3, 0, 0, 0}, 0, "no run of a fragment of 0");
  refused(Fragment{0, 3, 0, 40, 40}, 40, "no run of a fragment of 40");
  ASSERT_TRUE(exchange_.receive(make_message(envelope(), Fragment{0, 3, 0, 16, 40}, {floats(16)})));
  refused(Fragment{0, 3, 16, 16, 50}, 16, "before of 40");
}

TEST_F(Refusals, FragmentsOfAnotherSizeThanTheGroups) {
  group_.fragment_floats = {30, 0};
  ASSERT_TRUE(exchange_.join(group_));
  exchange_.begin_step(10, false);
  refused(Fragment{0, 3, 0, 16, 31}, 16, "31 values, where it has 30");
  refused(Fragment{1, 3, 0, 16, 16}, 16, "where it has 0");
  step_completes();
}

TEST_F(Refusals, Envelopes) {
  const PartialSums good{{{0, 3, 4, 0, 16}}};
  Envelope wrong = envelope();
  wrong.from = 0;
  refused(make_message(wrong, good, {floats(16)}), "no member");
  wrong.from = 5;
  refused(make_message(wrong, good, {floats(16)}), "no member");
  wrong = envelope();
  wrong.step = 12;
  refused(make_message(wrong, good, {floats(16)}), "while step 10 is in hand");
  refused(make_message(envelope(), Parked{}), "no message between actors");
  Message garbage = make_message(envelope(), good, {floats(16)});
  garbage.body = Frame::from_string("\xff\x00\x13");
  refused(garbage, "PartialSums");
  garbage.body = Frame();
  refused(garbage, "PartialSums");
  refused(make_message(envelope(), StateDigest{}, {floats(1)}), "payload frames instead of 0");
  step_completes();
}

// What is handed in here comes from this actor's own code: it stops there.
TEST_F(Refusals, OwnSumsThatAreNoNodes) {
  const std::vector<float> ones(kFloats, 1), twos(kFloats, 2);
  EXPECT_THROW(exchange_.add_node(0, {1, 3}, ones, {}), InvariantError) << "no node";
  EXPECT_THROW(exchange_.add_node(0, {0, 3}, ones, {}), InvariantError) << "no node";
  EXPECT_THROW(exchange_.add_node(0, {2, 2}, ones, {}), InvariantError) << "no node";
  EXPECT_THROW(exchange_.add_node(0, {2, 4}, ones, {}), InvariantError) << "not all its own";
  EXPECT_THROW(exchange_.add_node(0, {0, 2}, std::vector<float>(3, 1), {}), InvariantError) << "too short";
  EXPECT_THROW(exchange_.add_node(3, {0, 2}, ones, {}), InvariantError) << "no block";
  exchange_.add_node(0, {0, 2}, twos, {});
  exchange_.add_node(1, {0, 2}, twos, {});
  EXPECT_THROW(exchange_.add_leaf(0, 1, ones, {}), InvariantError) << "it is in a node already";
  exchange_.add_node(0, {0, 2}, ones, {});  // again: nothing
  exchange_.add_leaf(0, 2, ones, {});
  exchange_.add_node(1, {2, 3}, ones, {});
  for (std::uint32_t micro = 0; micro < 3; ++micro)
    exchange_.add_leaf(2, micro, std::vector<float>(4, 1), {});
  complete_from_the_peer();
}

TEST_F(Refusals, OverlapOfPartialSums) {
  group_.members = {{0, "n", "", 0, 0}, {1, "n", "", 0, 4}};
  ASSERT_TRUE(exchange_.join(group_));
  exchange_.begin_step(10, false);
  ASSERT_TRUE(exchange_.receive(make_message(envelope(), PartialSums{{{2, 0, 2, 0, 4}}}, {floats(4)})));
  refused(PartialSums{{{2, 0, 4, 0, 4}}}, 4, "[0, 4) overlaps");
  refused(PartialSums{{{2, 1, 2, 0, 4}}}, 4, "[1, 2) overlaps");
}

// Who has completed a step may join the next membership before its last directions have left.
TEST_F(Refusals, JoinKeepsWhatOthersAreOwed) {
  step_completes();
  group_.epoch = {3, 5};
  ASSERT_TRUE(exchange_.join(group_));
  std::size_t directions = 0;
  for (const Outgoing& outgoing : exchange_.take_outgoing()) {
    if (outgoing.message.envelope.kind != static_cast<std::uint16_t>(MessageKind::kDirections)) continue;
    EXPECT_EQ(outgoing.message.envelope.epoch, (GroupEpoch{3, 4}));
    directions += parse_body<Directions>(outgoing.message)->parts.size();
  }
  EXPECT_EQ(directions, 4u);  // three runs of block 0, and the summary
}

TEST_F(Refusals, TheOldestOfTooManyPeerMessagesGo) {
  StepExchange small({.block_floats = {kFloats, kFloats}, .max_peer_messages = 3});
  ASSERT_TRUE(small.join(group_));
  Envelope from = envelope();
  for (from.step = 1; from.step <= 5; ++from.step)
    ASSERT_TRUE(small.receive(make_message(from, StateDigest{})));
  for (std::uint64_t step = 3; step <= 5; ++step)
    EXPECT_EQ(std::get<PeerMessage>(*small.next_event()).step, step);
  EXPECT_FALSE(small.next_event());
}

TEST_F(Refusals, WhatFillsMemoryBeforeTheFirstStep) {
  ASSERT_TRUE(exchange_.join(group_));
  Envelope early = envelope();
  int taken = 0;
  for (std::uint64_t step = 1; step <= 100; ++step) {
    early.step = step;
    if (exchange_.receive(make_message(early, PartialSums{{{0, 3, 4, 0, 16}}}, {floats(16)}))) ++taken;
  }
  EXPECT_EQ(taken, 4);
}

TEST_F(Refusals, GroupsThatDoNotFit) {
  const auto unfit = [&](const std::function<void(Group&)>& spoil, const std::string& why) {
    Group group = group_;
    spoil(group);
    const Status status = exchange_.join(group);
    ASSERT_FALSE(status) << why;
    EXPECT_THAT(status.error().message, HasSubstr(why));
  };
  unfit([](Group& g) { g.members.clear(); }, "no members");
  unfit([](Group& g) { g.micro_batches = 0; }, "0 micro-batches");
  unfit([](Group& g) { g.micro_batches = 1u << 20; }, "micro-batches");
  unfit([](Group& g) { g.micro_batches = 5; }, "end at micro-batch 4 of 5");
  unfit([](Group& g) { g.members[1].first_micro = 2; }, "where 3 comes next");
  unfit([](Group& g) { g.members[1].actor = 0; }, "twice");
  unfit([](Group& g) { g.self = 9; }, "actor 9 is not a member");
  unfit([](Group& g) { g.placement.owner.pop_back(); }, "owners of 2");
  unfit([](Group& g) { g.placement.owner[1] = 9; }, "actor 9, is not a member");
  unfit([](Group& g) { g.placement.owner[2] = 1; }, "not the first member");
  unfit([](Group& g) { g.placement.backup[0] = 0; }, "backup");
  unfit([](Group& g) { g.fragment_floats = {1}; }, "fragment sizes");
  unfit(
      [](Group& g) {
        g.members = {{0, "n", "", 0, 4}, {1, "n", "", 4, 4}};
        g.placement.owner = {0, 0, 0};
        g.placement.backup = {1, 1, kNoActor};
      },
      "neither a micro-batch nor a block");
  // After all that the group that was joined before is still in force.
  step_completes();
}

// A backup may not commit a step before it holds the step's curvature, though every direction is there.
TEST_F(Refusals, StepCompletesOnlyWithAllFragments) {
  for (std::uint32_t micro = 0; micro < 3; ++micro)
    exchange_.add_fragment(1, micro, std::vector<float>(20, 1));
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(std::holds_alternative<FragmentArrived>(*exchange_.next_event()));
  for (std::uint32_t micro = 0; micro < 3; ++micro) {
    for (std::uint32_t block = 0; block < 2; ++block)
      exchange_.add_leaf(block, micro, std::vector<float>(kFloats, 1), {});
    exchange_.add_leaf(2, micro, std::vector<float>(4, 1), {});
  }
  const PartialSums sums{{{0, 3, 4, 0, 16}, {0, 3, 4, 16, 16}, {0, 3, 4, 32, 8}, {2, 3, 4, 0, 4}}};
  ASSERT_TRUE(exchange_.receive(make_message(envelope(), sums, {floats(44)})));
  while (auto event = exchange_.next_event()) {
    const auto& summed = std::get<BlockSummed>(*event);
    exchange_.publish(summed.block, summed.sum, {.inner_product = 1});
  }
  const Directions directions{{{1, 0, 16, 1}, {1, 16, 16, 1}, {1, 32, 8, 1}}};
  ASSERT_TRUE(exchange_.receive(make_message(envelope(), directions, {floats(40)})));
  EXPECT_FALSE(exchange_.has_event());
  ASSERT_TRUE(exchange_.receive(make_message(envelope(), Fragment{1, 3, 16, 4, 20}, {floats(4)})));
  EXPECT_FALSE(exchange_.has_event());
  ASSERT_TRUE(exchange_.receive(make_message(envelope(), Fragment{1, 3, 0, 16, 20}, {floats(16)})));
  EXPECT_TRUE(std::holds_alternative<FragmentArrived>(*exchange_.next_event()));
  EXPECT_TRUE(std::holds_alternative<StepComplete>(*exchange_.next_event()));
}

// A backup that has parked without a block's last fragment may not tell the owner afterwards that it holds
// all.
TEST_F(Refusals, AStepThatWasLeftTakesAndPromisesNothing) {
  for (const bool in_time : {true, false}) {
    exchange_.begin_step(in_time ? 11 : 12, true);
    (void)exchange_.take_outgoing();
    Envelope fragment = envelope();
    fragment.step = in_time ? 11 : 12;
    for (std::uint32_t micro = 0; micro < 3; ++micro)
      exchange_.add_fragment(1, micro, std::vector<float>(16, 1));
    (void)exchange_.take_outgoing();
    const Message last = make_message(fragment, Fragment{1, 3, 0, 16, 16}, {floats(16)});
    if (in_time) {
      ASSERT_TRUE(exchange_.receive(last));
    }
    EXPECT_EQ(exchange_.take_fragments().size(), in_time ? 4u : 3u);
    ASSERT_TRUE(exchange_.receive(last));
    EXPECT_FALSE(exchange_.has_event());
    EXPECT_EQ(exchange_.take_outgoing().size(), in_time ? 1u : 0u) << "CurvatureHeld";
  }
}

TEST_F(Refusals, MessagesBesideTheStepsWaitUntilNoStepIsOpen) {
  Envelope from = envelope();
  from.step = 9;
  const EvaluationPart part{5, {0.5, 1.5}, {3, 4}};
  ASSERT_TRUE(exchange_.receive(make_message(from, part)));
  EXPECT_FALSE(exchange_.would_give_event());
  EXPECT_FALSE(exchange_.next_event());
  step_completes();
  EXPECT_TRUE(exchange_.would_give_event());
  const auto event = exchange_.next_event();
  ASSERT_TRUE(event);
  const auto& message = std::get<PeerMessage>(*event);
  EXPECT_EQ(message.from, 1u);
  EXPECT_EQ(message.step, 9u);
  EXPECT_EQ(std::get<EvaluationPart>(message.body).hits, part.hits);
  exchange_.send(0, 10, CheckpointShard{.file = "x"});  // to itself
  EXPECT_EQ(std::get<PeerMessage>(*exchange_.next_event()).from, 0u);
  exchange_.take_outgoing();
  exchange_.send(1, 10, StateDigest{});
  ASSERT_EQ(exchange_.take_outgoing().size(), 1u);
}

TEST_F(Refusals, MessagesBesideTheStepsAreTakenByKindAndStep) {
  Envelope from = envelope();
  ASSERT_TRUE(exchange_.receive(make_message(from, CheckpointShard{.file = "early"})));
  from.step = 9;
  ASSERT_TRUE(exchange_.receive(make_message(from, EvaluationPart{1, {}, {}})));
  from.step = 10;
  ASSERT_TRUE(exchange_.receive(make_message(from, EvaluationPart{2, {}, {}})));
  const auto part = exchange_.take_message(MessageKind::kEvaluationPart, 10);
  ASSERT_TRUE(part);
  EXPECT_EQ(std::get<EvaluationPart>(part->body).first_batch, 2u);
  EXPECT_FALSE(exchange_.take_message(MessageKind::kEvaluationPart, 10));
  EXPECT_TRUE(exchange_.take_message(MessageKind::kCheckpointShard, 10));
  EXPECT_TRUE(exchange_.take_message(MessageKind::kEvaluationPart, 9));
}

TEST_F(Refusals, WhatComesBeforeJoinIsKeptForIt) {
  StepExchange late(
      {.block_floats = {kFloats, kFloats}, .limits = {.run_floats = kRun}, .max_future_bytes = 2000});
  const PartialSums sums{{{2, 3, 4, 0, 4}}};
  const auto send = [&](GroupEpoch epoch) {
    Envelope from = envelope();
    from.epoch = epoch;
    return late.receive(make_message(from, sums, {floats(4)}));
  };
  const auto sums_arrived = [&] {
    late.begin_step(10, false);
    for (std::uint32_t micro = 0; micro < 3; ++micro) late.add_leaf(2, micro, std::vector<float>(4, 1), {});
    const auto event = late.next_event();
    return event && std::get<BlockSummed>(*event).block == 2;
  };
  ASSERT_TRUE(send({3, 3}));
  ASSERT_TRUE(send({3, 4}));
  ASSERT_TRUE(send({4, 0}));
  ASSERT_TRUE(late.join(group_));
  EXPECT_EQ(late.counters().stale, 1u);  // that of 3.3
  EXPECT_TRUE(sums_arrived());
  group_.epoch = {3, 9};
  ASSERT_TRUE(late.join(group_));
  EXPECT_FALSE(sums_arrived());
  group_.epoch = {4, 0};
  ASSERT_TRUE(late.join(group_));
  EXPECT_TRUE(sums_arrived());
  // Bounded: what is beyond is dropped.
  const auto before = late.counters().stale;
  for (int i = 0; i < 50; ++i) ASSERT_TRUE(send({5, 0}));
  EXPECT_GT(late.counters().stale, before + 30);
}

}  // namespace
}  // namespace seng
