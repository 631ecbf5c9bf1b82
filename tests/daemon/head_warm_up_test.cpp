// The head and newcomers that catch up while the group trains.
#include <csignal>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/daemon/fake_world.h"

namespace seng::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

struct WarmUpWorld : World {
  WarmUpWorld() : World(4) {
    newcomers_warm_up = false;
    job = submit(spec_text("a", 2, 2));
    train(job);
    EXPECT_TRUE(head().scale(std::to_string(job), 3));
    settle();
    prepare(job, 2);
  }
  // The newest order to each actor; they are taken.
  std::map<ActorId, WarmUp> orders() {
    std::map<ActorId, WarmUp> out;
    for (const auto& order : link.warm_ups) out[order.actor] = order.body;
    link.warm_ups.clear();
    return out;
  }
  bool reconfigures() { return reconfigured(job, 2).has_value(); }
  JobId job = 0;
};

// The newcomer is gone: the source would copy every step for nobody.
TEST(WarmUpOfTheHead, ANewDaemonEndsTheWarmUpOfTheOneBefore) {
  WarmUpWorld world;
  world.orders();
  const GroupEpoch epoch = world.record(world.job).epoch;
  world.processes.running.erase(world.pid_of(world.job, 2));
  world.restart();
  ASSERT_TRUE(world.hello(world.job, 0, epoch, 5, kComputing));
  ASSERT_TRUE(world.hello(world.job, 1, epoch, 5, kComputing));
  world.settle();
  const auto orders = world.orders();
  ASSERT_EQ(orders.size(), 2u);
  for (const auto& [actor, order] : orders) EXPECT_THAT(order.newcomers, IsEmpty());
  world.pass(world.job, 5);
  EXPECT_THAT(world.orders(), IsEmpty()) << "once";
}

// All members die: what it has followed to is better than a checkpoint.
TEST(WarmUpOfTheHead, ItsStateSurvivesTheGroup) {
  WarmUpWorld world;
  const auto orders = world.orders();
  Progress progress;
  progress.applied_step = 6;
  world.say(world.job, 0, progress);
  world.say_in(world.job, 2, {}, WarmedUp{orders.at(2).number, 5, 0, ""});
  const GroupEpoch planned = world.record(world.job).epoch;
  world.end(world.job, 0, {true, SIGKILL});
  world.end(world.job, 1, {true, SIGKILL});
  EXPECT_LT(planned, world.record(world.job).epoch);
  const auto group = world.reconfigured(world.job, 2);
  ASSERT_TRUE(group);
  EXPECT_FALSE(group->restore);
  EXPECT_EQ(group->members.front().actor, 2u);
  world.transition(world.job, {2}, {}, 5);
  EXPECT_EQ(world.record(world.job).step, 5u) << "step 6 is made again";
}

// Unless a checkpoint is newer: the group does not go back behind it. That it gave up, for its source died,
// takes nothing away.
TEST(WarmUpOfTheHead, ItsStateCountsUnlessACheckpointIsNewer) {
  for (const std::uint64_t checkpoint : {4u, 5u, 6u}) {
    SCOPED_TRACE(checkpoint);
    WarmUpWorld world;
    const auto orders = world.orders();
    WarmedUp word;
    word.number = orders.at(2).number;
    word.step = 5;
    world.say_in(world.job, 2, {}, word);
    world.say(world.job, 0, CheckpointReport{checkpoint, "/c/step", "w", "s", ""});
    word.gave_up = "the source is gone";
    world.say_in(world.job, 2, {}, word);
    world.end(world.job, 0, {true, SIGKILL});
    world.end(world.job, 1, {true, SIGKILL});
    auto group = world.reconfigured(world.job, 2);
    ASSERT_TRUE(group);
    EXPECT_FALSE(group->restore) << "it has not said yet what it has";
    world.say(world.job, 2, Parked{5});
    if (checkpoint <= 5) {
      EXPECT_TRUE(world.told<Assign>(world.job, 2));
      continue;
    }
    for (const ActorId actor : {3u, 4u})
      if (world.pid_of(world.job, actor) != 0) world.prepare(world.job, actor);
    group = world.reconfigured(world.job, 2);
    ASSERT_TRUE(group);
    EXPECT_TRUE(group->restore);
  }
}

TEST(WarmUpOfTheHead, NewcomersAndMembersAreToldAndTheGroupIsLeftAlone) {
  WarmUpWorld world;
  const auto orders = world.orders();
  ASSERT_EQ(orders.size(), 3u);
  for (const auto& [actor, order] : orders) {
    EXPECT_EQ(order.source, 1u) << "not the leader";
    EXPECT_THAT(order.newcomers, ElementsAre(2));
    ASSERT_EQ(order.members.size(), 2u);
    ASSERT_EQ(order.future.size(), 3u);
    EXPECT_EQ(order.future[2].actor, 2u);
    EXPECT_FALSE(order.future[2].endpoint.empty());
  }
  world.pass(world.job, 5);
  EXPECT_FALSE(world.reconfigures());
  WarmedUp word;
  word.number = orders.at(2).number - 1;
  world.say_in(world.job, 2, {}, word);
  EXPECT_FALSE(world.reconfigures()) << "of another order";
  word.number = orders.at(2).number;
  world.say_in(world.job, 2, {}, word);
  const auto group = world.reconfigured(world.job, 2);
  ASSERT_TRUE(group);
  EXPECT_TRUE(group->planned);
  EXPECT_THAT(world.event_kinds(world.job), HasSubstr("WarmingUp WarmedUp Reconfigured"));
}

TEST(WarmUpOfTheHead, OneThatGivesUpIsTakenInAllTheSame) {
  WarmUpWorld world;
  WarmedUp word;
  word.number = world.orders().at(2).number;
  word.gave_up = "too far behind";
  world.say_in(world.job, 2, {}, word);
  EXPECT_TRUE(world.reconfigures());
  EXPECT_THAT(world.event_kinds(world.job), HasSubstr("WarmUpGivenUp Reconfigured"));
}

TEST(WarmUpOfTheHead, OneWithoutProgressIsNotWaitedFor) {
  WarmUpWorld world;
  const Timeouts& timeouts = world.options.timeouts;
  world.pass(world.job, timeouts.warm_up_stall_s() - 1);
  EXPECT_FALSE(world.reconfigures());
  world.pass(world.job, 2);
  EXPECT_TRUE(world.reconfigures());
  EXPECT_THAT(world.event_kinds(world.job), HasSubstr("WarmUpGivenUp Reconfigured"));
}

// Nor does one that goes on for ever hold anybody up for ever.
TEST(WarmUpOfTheHead, OneThatWaitsForTheGroupIsWaitedForLonger) {
  WarmUpWorld world;
  const Timeouts& timeouts = world.options.timeouts;
  double passed = 0;
  for (; passed < timeouts.warm_up_s() - 1; passed += 0.5) {
    Progress progress;
    progress.activity = kWaiting;
    world.say_in(world.job, 2, {}, progress);
    world.pass(world.job, 0.5, {2});
  }
  EXPECT_FALSE(world.reconfigures());
  world.pass(world.job, 2);
  EXPECT_TRUE(world.reconfigures());
}

TEST(WarmUpOfTheHead, OneThatDiesIsForgotten) {
  WarmUpWorld world;
  (void)world.orders();
  world.end(world.job, 2, {true, SIGKILL});
  const auto orders = world.orders();
  ASSERT_TRUE(orders.contains(0));
  EXPECT_THAT(orders.at(0).newcomers, IsEmpty());
  EXPECT_THAT(world.event_kinds(world.job), Not(HasSubstr("WarmUpGivenUp")));
  // The one in its place warms up as well.
  world.prepare(world.job, 3);
  EXPECT_THAT(world.orders().at(0).newcomers, ElementsAre(3));
}

TEST(WarmUpOfTheHead, ALossMeanwhileComesFirstAndItBeginsAgain) {
  WarmUpWorld world;
  const std::uint64_t before = world.orders().at(2).number;
  world.end(world.job, 1, {true, SIGKILL});
  EXPECT_FALSE(world.reconfigures());
  ASSERT_TRUE(world.reconfigured(world.job, 0));
  world.transition(world.job, {0});
  const auto orders = world.orders();
  ASSERT_TRUE(orders.contains(2));
  EXPECT_GT(orders.at(2).number, before);
  EXPECT_EQ(orders.at(2).source, 0u);
  WarmedUp late;
  late.number = before;
  world.say_in(world.job, 2, {}, late);
  EXPECT_FALSE(world.reconfigures());
}

TEST(WarmUpOfTheHead, AnotherNewcomerIsTakenInTogetherWithIt) {
  WarmUpWorld world;
  const std::uint64_t first = world.orders().at(2).number;
  ASSERT_TRUE(world.head().scale(std::to_string(world.job), 4));
  world.settle();
  world.prepare(world.job, 3);
  const auto orders = world.orders();
  EXPECT_THAT(orders.at(2).newcomers, ElementsAre(2, 3));
  WarmedUp word;
  word.number = first;
  world.say_in(world.job, 2, {}, word);
  word.number = orders.at(2).number;
  world.say_in(world.job, 3, {}, word);
  EXPECT_FALSE(world.reconfigures());
  world.say_in(world.job, 2, {}, word);
  EXPECT_TRUE(world.reconfigures());
}

}  // namespace
}  // namespace seng::testing
