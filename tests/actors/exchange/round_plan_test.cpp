// The order in which ranks send and receive, for any membership, without a link.
#include "actors/exchange/round_plan.h"

#include <algorithm>
#include <deque>
#include <functional>
#include <set>
#include <tuple>

#include <gtest/gtest.h>

#include "actors/exchange/round_queue.h"
#include "actors/exchange/step_exchange.h"
#include "tests/actors/exchange/group_fixture.h"

namespace seng {
namespace {

using Kind = link::Transfer::Kind;
using testing::Random;

constexpr int kTries = 40;  // random memberships

struct Planned {
  std::vector<Block> blocks;
  std::vector<Member> members;
  std::vector<RoundPlan> plans;        // by rank; some keep their vectors on a device
  std::vector<RoundPlan> other_plans;  // the same of those whose vectors are elsewhere

  int ranks() const { return static_cast<int>(members.size()); }
};

bool everybody_has_work(const Group& group) {
  return std::ranges::all_of(group.members, [&](const Member& member) {
    return member.first_micro < member.last_micro ||
           std::ranges::count(group.placement.owner, member.actor) > 0;
  });
}

enum class Sums { kOrdered, kFast };

Planned random_plan(Random& random, Sums sums) {
  Planned planned;
  do {
    const std::uint32_t micro_batches = random.between(1, 24);
    planned.blocks = testing::random_blocks(random, random.between(1, 9), 2000);
    planned.members = testing::make_random_members(random, random.between(2, 6), micro_batches);
  } while (
      !everybody_has_work(testing::make_group(planned.blocks, planned.members, planned.members[0].actor)));
  const std::size_t round_bytes = std::size_t{1} << random.between(8, 16);
  const GroupLimits limits{.run_floats = random.between(16, 400)};
  for (const Member& member : planned.members) {
    Group group = testing::make_group(planned.blocks, planned.members, member.actor);
    if (sums == Sums::kFast) group.path = BlockPath::kNccl, group.reduction = Reduction::kFast;
    bool on_device = random.chance(0.5);
    for (auto* plans : {&planned.plans, &planned.other_plans}) {
      group.vectors = on_device ? host_vectors() : nullptr;  // whose they are does not matter here
      const auto view = GroupView::create(group, block_floats(planned.blocks), limits);
      EXPECT_TRUE(view) << view.error().message;
      plans->emplace_back(*view, round_bytes);
      on_device = !on_device;
    }
  }
  return planned;
}

void for_random_plans(const std::function<void(Random&, const Planned&)>& look, Sums sums = Sums::kOrdered) {
  Random random;
  SCOPED_TRACE("SENG_TEST_SEED=" + std::to_string(random.seed));
  for (int i = 0; i < kTries; ++i) look(random, random_plan(random, sums));
}

// What one rank posts of one pair's operations, in order: bytes, and where in them a block's node is and its
// word, if it has one.
struct Seen {
  std::size_t bytes;
  std::vector<std::tuple<std::uint32_t, std::uint32_t, std::size_t, std::size_t>> parts;
  bool operator==(const Seen&) const = default;
};
Seen seen(const PlannedTransfer& transfer) {
  Seen seen{transfer.wire.bytes, {}};
  for (const PlannedPart& part : transfer.parts)
    seen.parts.emplace_back(part.block, part.node, part.offset - transfer.wire.offset,
                            part.direction() ? part.word - transfer.wire.offset : 0);
  return seen;
}

TEST(RoundPlan, BothSidesOfEveryPairHaveTheSameOperationsInTheSameOrder) {
  for_random_plans([](Random&, const Planned& planned) {
    std::map<std::pair<int, int>, std::vector<Seen>> sent, received;  // by (from, to)
    for (int rank = 0; rank < planned.ranks(); ++rank) {
      for (const PlannedRound& round : planned.plans[rank].rounds()) {
        for (const PlannedTransfer& transfer : round.transfers) {
          const int peer = transfer.wire.peer;
          if (transfer.wire.kind == Kind::kSend) sent[{rank, peer}].push_back(seen(transfer));
          if (transfer.wire.kind == Kind::kReceive) received[{peer, rank}].push_back(seen(transfer));
          if (transfer.wire.kind != Kind::kBroadcast) continue;
          for (int other = 0; other < planned.ranks() && peer == rank; ++other) {
            if (other != rank) sent[{rank, other}].push_back(seen(transfer));
          }
          if (peer != rank) received[{peer, rank}].push_back(seen(transfer));
        }
      }
    }
    EXPECT_EQ(sent, received);
  });
}

TEST(RoundPlan, EverySumComesToItsOwnerOnceAndEveryDirectionToAll) {
  for_random_plans([](Random&, const Planned& planned) {
    for (int rank = 0; rank < planned.ranks(); ++rank) {
      const GroupView& view = planned.plans[rank].group();
      std::multiset<std::pair<std::uint32_t, std::uint32_t>> came, expected;
      std::vector<std::pair<std::size_t, std::size_t>> areas;
      for (const PlannedRound& round : planned.plans[rank].rounds()) {
        for (const PlannedTransfer& transfer : round.transfers) {
          areas.emplace_back(transfer.wire.offset, transfer.wire.offset + transfer.wire.bytes);
          const bool sends = transfer.wire.kind == Kind::kSend || transfer.wire.peer == rank;
          for (const PlannedPart& part : transfer.parts) {
            if (transfer.wire.kind != Kind::kSend && !sends) came.emplace(part.block, part.node);
            const std::size_t bytes = view.grid(part.block).floats * sizeof(float);
            EXPECT_EQ(part.offset % 16, 0u);
            EXPECT_GE(part.offset, transfer.wire.offset + kMarkBytes + (part.direction() ? kWordBytes : 0));
            EXPECT_LE(part.offset + bytes, transfer.wire.offset + transfer.wire.bytes);
          }
        }
      }
      std::ranges::sort(areas);
      for (std::size_t i = 1; i < areas.size(); ++i) EXPECT_LE(areas[i - 1].second, areas[i].first);
      ASSERT_FALSE(areas.empty());
      EXPECT_LE(areas.back().second, planned.plans[rank].staging_bytes());
      for (std::uint32_t block = 0; block < view.blocks(); ++block) {
        if (!view.owns(block)) {
          expected.emplace(block, SumTree::kNone);
          continue;
        }
        for (const Member& member : planned.members) {
          if (member.actor == view.self()) continue;
          for (const std::uint32_t node :
               view.tree().maximal_subtrees({member.first_micro, member.last_micro}))
            expected.emplace(block, node);
        }
      }
      EXPECT_EQ(came, expected);
    }
  });
}

// Operations with values of blocks; of these with the summary too.
struct Covered {
  std::size_t some = 0, mixed = 0;
};

void expect_values_last(const RoundPlan& plan, const link::Transfer& wire,
                        const std::vector<PlannedPart>& parts, Covered& seen) {
  const GroupView& view = plan.group();
  if (!view.group().vectors) {
    EXPECT_EQ(wire.unstaged, 0u);
    return;
  }
  const std::size_t values = wire.offset + wire.bytes - wire.unstaged;  // where they begin
  EXPECT_GE(values, wire.offset + kMarkBytes);
  EXPECT_EQ(values % 16, 0u);
  std::size_t covered = 0;
  bool has_summary = false;
  for (const PlannedPart& part : parts) {
    const std::size_t bytes = (view.grid(part.block).floats * sizeof(float) + 15) / 16 * 16;
    if (part.direction()) {
      EXPECT_LE(part.word + kWordBytes, values);
    }
    if (part.block == view.summary()) {
      EXPECT_LE(part.offset + bytes, values);
      has_summary = true;
      continue;
    }
    EXPECT_GE(part.offset, values);
    covered += bytes;
  }
  EXPECT_EQ(covered, wire.unstaged);
  seen.some += covered > 0;
  seen.mixed += covered > 0 && has_summary;
}

// But for what is staged.
void expect_same(const RoundPlan& one, const RoundPlan& other) {
  EXPECT_EQ(one.staging_bytes(), other.staging_bytes());
  EXPECT_EQ(one.sum_bytes(), other.sum_bytes());
  EXPECT_EQ(one.direction_bytes(), other.direction_bytes());
  ASSERT_EQ(one.rounds().size(), other.rounds().size());
  for (std::size_t i = 0; i < one.rounds().size(); ++i) {
    const PlannedRound &a = one.rounds()[i], &b = other.rounds()[i];
    EXPECT_EQ(a.number, b.number);
    EXPECT_EQ(a.owed, b.owed);
    ASSERT_EQ(a.transfers.size(), b.transfers.size());
    for (std::size_t t = 0; t < a.transfers.size(); ++t) {
      link::Transfer wire = a.transfers[t].wire;
      wire.unstaged = b.transfers[t].wire.unstaged;
      EXPECT_EQ(wire, b.transfers[t].wire);
      EXPECT_EQ(seen(a.transfers[t]), seen(b.transfers[t]));
      if (!link::sends(wire, one.rank())) continue;
      for (const PlannedPart& part : a.transfers[t].parts) {
        for (const RoundPlan* plan : {&one, &other}) {
          const RoundPlan::Place place = plan->place(part.block, part.node);
          EXPECT_EQ(place.round, i);
          EXPECT_EQ(place.offset, part.offset);
          EXPECT_EQ(place.word, part.word);
        }
      }
    }
  }
}

// Who keeps its vectors on a device leaves there what the blocks' values are, and no more; all else is as on
// the host, so that the two understand each other.
TEST(RoundPlan, ADevicesValuesAreLastAndAloneStayThere) {
  for (const Sums sums : {Sums::kOrdered, Sums::kFast}) {
    Covered seen;
    for_random_plans(
        [&](Random&, const Planned& planned) {
          for (int rank = 0; rank < planned.ranks(); ++rank) {
            for (const auto* plans : {&planned.plans, &planned.other_plans})
              for (const PlannedRound& round : (*plans)[rank].rounds())
                for (const PlannedTransfer& transfer : round.transfers)
                  expect_values_last((*plans)[rank], transfer.wire, transfer.parts, seen);
            expect_same(planned.plans[rank], planned.other_plans[rank]);
          }
        },
        sums);
    EXPECT_GT(seen.some, 100u);
    EXPECT_GT(seen.mixed, 10u);
  }
}

// Collectives of one communicator come in one order on all ranks, within a round too.
TEST(RoundPlan, FastRoundsAreTheSameOnAllRanks) {
  for_random_plans(
      [](Random&, const Planned& planned) {
        using Operation = std::tuple<std::uint32_t, Kind, int, decltype(Seen::parts), std::size_t>;
        std::vector<std::vector<Operation>> operations;
        for (int rank = 0; rank < planned.ranks(); ++rank) {
          const GroupView& view = planned.plans[rank].group();
          std::multiset<std::uint32_t> summed, directed;
          std::vector<Operation>& own = operations.emplace_back();
          for (const PlannedRound& round : planned.plans[rank].rounds()) {
            for (const PlannedTransfer& transfer : round.transfers) {
              const auto& wire = transfer.wire;
              own.emplace_back(round.number, wire.kind, wire.peer, seen(transfer).parts, wire.bytes);
              EXPECT_EQ(round.sums, wire.kind == Kind::kReduce);
              for (const PlannedPart& part : transfer.parts) {
                EXPECT_EQ(view.group().members[wire.peer].actor, view.owner(part.block));
                EXPECT_EQ(part.node, round.sums ? SumTree::kRoot : SumTree::kNone);
                (round.sums ? summed : directed).insert(part.block);
              }
            }
          }
          std::multiset<std::uint32_t> all;
          for (std::uint32_t block = 0; block < view.blocks(); ++block) all.insert(block);
          EXPECT_EQ(summed, all);
          EXPECT_EQ(directed, all);
        }
        for (const auto& each : operations) EXPECT_EQ(each, operations[0]);
      },
      Sums::kFast);
}

// Ranks that hand in when they can, and operations that go on only when both sides have posted theirs, each
// rank's one after another as on a stream: the worst that a link may do.
class Machine {
 public:
  Machine(Random& random, const Planned& planned) : random_(random), planned_(planned) {
    for (const RoundPlan& plan : planned.plans) {
      Rank& rank = ranks_.emplace_back(plan);
      rank.queue.begin_step(1);
      for (std::uint32_t block = 0; block < plan.group().blocks(); ++block) {
        const GroupView& view = plan.group();
        if (view.fast()) {
          rank.leaves_missing.push_back(view.owns(block) ? view.tree().leaves() : 0);
          if (view.own_range().size() > 0) rank.sums.push_back({block, SumTree::kRoot});
          continue;
        }
        rank.leaves_missing.push_back(view.owns(block) ? view.tree().leaves() - view.own_range().size() : 0);
        if (view.owns(block)) continue;
        for (const std::uint32_t node : view.own_subtrees()) rank.sums.push_back({block, node});
      }
      std::shuffle(rank.sums.begin(), rank.sums.end(), random_.engine);
    }
  }

  // False: nobody can go on, and not all is done.
  bool run() {
    while (true) {
      bool moved = false, done = true;
      std::vector<std::size_t> order(ranks_.size());
      for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
      std::shuffle(order.begin(), order.end(), random_.engine);
      for (const std::size_t rank : order) moved = turn(static_cast<int>(rank)) || moved;
      for (Rank& rank : ranks_) done = done && rank.finished == rank.plan->rounds().size();
      if (done) return true;
      if (!moved) return false;
    }
  }

 private:
  struct Rank {
    explicit Rank(const RoundPlan& plan) : plan(&plan), queue(std::make_shared<const RoundPlan>(plan)) {}
    const RoundPlan* plan;
    RoundQueue queue;
    std::vector<std::pair<std::uint32_t, std::uint32_t>> sums;  // to be handed in
    std::vector<std::uint32_t> leaves_missing;                  // per block
    std::set<std::uint32_t> published;
    std::size_t posted = 0, finished = 0;
  };

  bool turn(int index) {
    Rank& rank = ranks_[static_cast<std::size_t>(index)];
    const GroupView& view = rank.plan->group();
    bool moved = false;
    if (!rank.sums.empty()) {
      const auto [block, node] = rank.sums.back();
      rank.sums.pop_back();
      for (std::uint32_t run = 0; run < view.grid(block).runs(); ++run)
        rank.queue.add_sum(block, node, run, {});
      moved = true;
    }
    for (std::uint32_t block = 0; block < view.blocks(); ++block) {
      // Its own leaves are there with its last sum, at the latest.
      if (!view.owns(block) || !rank.sums.empty() || rank.leaves_missing[block] > 0) continue;
      if (!rank.published.insert(block).second) continue;
      rank.queue.add_direction(block, {}, {});
      moved = true;
    }
    while (rank.queue.take()) ++rank.posted, moved = true;
    while (rank.finished < rank.posted && finish(index)) moved = true;
    return moved;
  }

  bool finish(int index) {
    Rank& rank = ranks_[static_cast<std::size_t>(index)];
    const PlannedRound& round = rank.plan->rounds()[rank.finished];
    for (const PlannedTransfer& transfer : round.transfers) {
      for (int other = 0; other < planned_.ranks(); ++other) {
        const bool all = transfer.wire.kind == Kind::kBroadcast || transfer.wire.kind == Kind::kReduce;
        const bool concerned = all || transfer.wire.peer == other;
        if (other != index && concerned && !has_posted(other, round.number)) return false;
      }
    }
    for (const PlannedTransfer& transfer : round.transfers) {
      if (transfer.wire.kind == Kind::kReduce && transfer.wire.peer == index)
        for (const PlannedPart& part : transfer.parts) rank.leaves_missing[part.block] = 0;
      if (transfer.wire.kind != Kind::kReceive) continue;
      for (const PlannedPart& part : transfer.parts)
        rank.leaves_missing[part.block] -= rank.plan->group().tree().range(part.node).size();
    }
    ++rank.finished;
    return true;
  }

  bool has_posted(int other, std::uint32_t number) const {
    const Rank& rank = ranks_[static_cast<std::size_t>(other)];
    return rank.posted > 0 && rank.plan->rounds()[rank.posted - 1].number >= number;
  }

  Random& random_;
  const Planned& planned_;
  std::deque<Rank> ranks_;
};

TEST(RoundPlan, NobodyWaitsForEver) {
  for (const Sums sums : {Sums::kOrdered, Sums::kFast}) {
    for_random_plans(
        [](Random& random, const Planned& planned) { EXPECT_TRUE(Machine(random, planned).run()); }, sums);
  }
}

TEST(RoundPlan, SendsWhatTheFormulaOfBytesSays) {
  const auto blocks = testing::lenet_blocks();
  const auto members = testing::make_members(2, 8);
  std::uint64_t floats = kSummaryFloats;
  for (const std::size_t count : block_floats(blocks)) floats += count;
  std::uint64_t sums = 0, directions = 0;
  for (const Member& member : members) {
    const auto view =
        GroupView::create(testing::make_group(blocks, members, member.actor), block_floats(blocks), {});
    const RoundPlan plan(view.value());
    sums += plan.sum_bytes();
    directions += plan.direction_bytes();
    EXPECT_LE(plan.rounds().size(), 3u);  // small blocks share
  }
  EXPECT_GE(sums, 4 * floats);  // M = 2, one subtree each: F of both kinds, over both
  EXPECT_LE(sums, 4 * floats * 1.005);
  EXPECT_GE(directions, 4 * floats);
  EXPECT_LE(directions, 4 * floats * 1.005);
}

// 2 (M-1)/M F * 4 bytes on average, whatever the ranges are; and nobody's sums are more than F * 4.
TEST(RoundPlan, FastSumsAreOneVectorPerMember) {
  const auto blocks = testing::lenet_blocks();
  double floats = kSummaryFloats;
  for (const std::size_t count : block_floats(blocks)) floats += static_cast<double>(count);
  for (const std::uint32_t actors : {2u, 3u, 4u, 5u}) {
    const auto members = testing::make_members(actors, 40);  // no subtrees but for 2
    double sums = 0, directions = 0;
    for (const Member& member : members) {
      Group group = testing::make_group(blocks, members, member.actor);
      group.path = BlockPath::kNccl;
      group.reduction = Reduction::kFast;
      const RoundPlan plan(GroupView::create(group, block_floats(blocks), {}).value());
      EXPECT_LE(static_cast<double>(plan.sum_bytes()), 4 * floats * 1.005);
      sums += static_cast<double>(plan.sum_bytes());
      directions += static_cast<double>(plan.direction_bytes());
    }
    for (const double bytes : {sums, directions}) {
      EXPECT_GE(bytes, 4 * (actors - 1) * floats);
      EXPECT_LE(bytes, 4 * (actors - 1) * floats * 1.005);
    }
  }
}

TEST(RoundPlan, MarksAddUpExactlyAndDifferByStepRoundAndMembership) {
  const RoundMark mark{1, 2, 3, 4, 0};
  for (const int ranks : {1, 3, 1024, 4096}) {
    SumMark sum{};
    for (int rank = 0; rank < ranks; ++rank) {
      const SumMark own = sum_mark(mark, 1);
      for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += own[i];
    }
    EXPECT_EQ(sum, sum_mark(mark, ranks));
  }
  for (const RoundMark& other : {RoundMark{2, 2, 3, 4, 0}, RoundMark{1, 3, 3, 4, 0}, RoundMark{1, 2, 4, 4, 0},
                                 RoundMark{1, 2, 3, 5, 0}})
    EXPECT_NE(sum_mark(other, 3), sum_mark(mark, 3));
  EXPECT_NE(sum_mark(mark, 3), sum_mark(mark, 2));
}

TEST(RoundPlan, AGroupOfOneHasNone) {
  const auto blocks = testing::lenet_blocks();
  const auto members = testing::make_members(1, 8);
  const auto view = GroupView::create(testing::make_group(blocks, members, 0), block_floats(blocks), {});
  EXPECT_TRUE(RoundPlan(view.value()).rounds().empty());
}

TEST(RoundPlan, AWordTravelsWhole) {
  for (const std::vector<double>& model : {std::vector<double>{}, {1.5, -2, 0, 1e300}}) {
    const PublishWord word{.inner_product = -0.25,
                           .flags = 3,
                           .refused = true,
                           .gradient_squared = 1e-300,
                           .direction_squared = 7,
                           .model = model};
    std::byte bytes[kWordBytes];
    write_word(word, bytes);
    const PublishWord read = read_word(bytes);
    EXPECT_EQ(read.inner_product, word.inner_product);
    EXPECT_EQ(read.flags, word.flags);
    EXPECT_EQ(read.refused, word.refused);
    EXPECT_EQ(read.gradient_squared, word.gradient_squared);
    EXPECT_EQ(read.direction_squared, word.direction_squared);
    EXPECT_EQ(read.model, word.model);
  }
}

// Rounds leave in order, step after step, each when what it sends is there.
TEST(RoundQueue, GivesRoundsInOrderOverSteps) {
  const std::vector<Block> blocks = testing::lenet_blocks();
  const auto members = testing::make_members(2, 2);
  const auto view = GroupView::create(testing::make_group(blocks, members, 0), block_floats(blocks), {});
  const auto plan = std::make_shared<const RoundPlan>(view.value(), 1);  // a round for each part
  RoundQueue queue(plan);
  EXPECT_FALSE(queue.take());
  const auto hand_in = [&] {
    for (std::uint32_t block = 0; block < (*view)->blocks(); ++block) {
      if ((*view)->owns(block)) continue;
      for (std::uint32_t run = 0; run < (*view)->grid(block).runs(); ++run)
        queue.add_sum(block, (*view)->own_subtrees()[0], run, {});
    }
    for (std::uint32_t block = 0; block < (*view)->blocks(); ++block)
      if ((*view)->owns(block))
        queue.add_direction(block, {}, std::vector<Frame>((*view)->grid(block).runs()));
  };
  std::vector<std::pair<std::uint64_t, std::uint32_t>> order;
  for (std::uint64_t step = 1; step <= 2; ++step) {
    queue.begin_step(step);
    hand_in();
  }
  std::uint64_t number = 0;
  while (auto ready = queue.take()) {
    EXPECT_EQ(ready->number, number++);
    order.emplace_back(ready->step, ready->round->number);
  }
  EXPECT_EQ(order.size(), 2 * plan->rounds().size());
  EXPECT_TRUE(std::ranges::is_sorted(order));
  queue.begin_step(3);
  std::size_t open = 0;
  while (queue.take()) ++open;
  EXPECT_LT(open, plan->rounds().size());  // the rest waits for what it sends
}

}  // namespace
}  // namespace seng
