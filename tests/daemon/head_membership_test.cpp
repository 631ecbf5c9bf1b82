// The head and the memberships of its jobs: losses, newcomers, scaling, draining, hangs, another daemon.
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "daemon/head.h"
#include "tests/daemon/fake_world.h"

namespace seng::testing::head_membership_test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

const ExitStatus kExit0{false, 0}, kExit3{false, 3}, kKilled{true, SIGKILL};

std::vector<ActorId> ids(const std::vector<Member>& members) {
  std::vector<ActorId> out;
  for (const Member& m : members) out.push_back(m.actor);
  return out;
}

TEST(Membership, AKilledMembersGroupGoesOnAtOnceAndItIsReplaced) {
  World world(3);
  const JobId job = world.submit(spec_text("a", 2, 3));
  world.train(job);
  std::ofstream(world.dir.path() + "/jobs/1/logs/actor-1.log") << "all is well\nsomething odd happened\n\n";
  Progress progress;
  progress.memory_bytes = 77 << 20;
  world.say(job, 1, progress);
  world.end(job, 1, kKilled);
  EXPECT_EQ(world.record(job).state, JobState::kRunning);
  const auto group = world.reconfigured(job, 0);
  ASSERT_TRUE(group);
  EXPECT_THAT(ids(group->members), ElementsAre(0, 2));
  EXPECT_TRUE(group->leavers.empty());
  EXPECT_FALSE(group->planned);
  EXPECT_FALSE(group->restore);
  EXPECT_EQ(world.record(job).restarts, 1u);
  world.transition(job, {0, 2}, {}, 5);
  EXPECT_EQ(world.record(job).actors, 2u);
  world.link.sent.clear();
  world.prepare(job, 3);
  const auto bigger = world.reconfigured(job, 3);
  ASSERT_TRUE(bigger);
  EXPECT_THAT(ids(bigger->members), ElementsAre(0, 2, 3));
  EXPECT_TRUE(bigger->planned);
  world.transition(job, {0, 2, 3}, {}, 6);
  EXPECT_EQ(world.record(job).actors, 3u);
  std::string text;
  const auto events = world.store->events(job, 0, 100);
  for (const auto& e : *events) {
    if (e.kind == "ActorLost") text = e.text;
  }
  EXPECT_THAT(text,
              HasSubstr("actor 1 was killed by signal 9 (not by sengd: the kernel's out-of-memory killer, "
                        "or somebody's kill -9), having reported 77 MiB"));
  EXPECT_THAT(text, HasSubstr("something odd happened"));
  EXPECT_THAT(text, HasSubstr(world.dir.path() + "/jobs/1/logs/actor-1.log"));
}

TEST(Membership, NewcomersWaitForTheEndOfATransition) {
  World world(3);
  const JobId job = world.submit(spec_text("a", 1, 3));
  world.train(job);
  world.end(job, 2, kKilled);
  world.prepare(job, 3);
  world.link.sent.clear();
  world.say(job, 0, Parked{4, {}});
  world.say(job, 1, Parked{4, {}});
  EXPECT_FALSE(world.reconfigured(job, 3));
  world.say(job, 0, Ready{});
  world.say(job, 1, Ready{});
  EXPECT_TRUE(world.reconfigured(job, 3));
}

TEST(Membership, WhenAllAreLostNewOnesResume) {
  World world(2);
  const JobId job = world.submit(spec_text("a", 2, 2));
  world.train(job);
  world.say(job, 0, CheckpointReport{4, "/c/step-4", "w4", "s4", ""});
  Progress progress;
  progress.applied_step = 6;
  world.say(job, 0, progress);
  world.end(job, 0, kKilled);
  world.end(job, 1, kKilled);
  EXPECT_EQ(world.record(job).state, JobState::kRunning);
  EXPECT_THAT(world.record(job).reason, HasSubstr("resumes from its newest checkpoint"));
  world.prepare(job, 2);
  EXPECT_FALSE(world.reconfigured(job, 2)) << "the second is still starting";
  world.prepare(job, 3);  // no pause: actor 0 had committed steps, it did not die of its start
  const auto group = world.reconfigured(job, 2);
  ASSERT_TRUE(group);
  EXPECT_TRUE(group->restore);
  EXPECT_FALSE(group->planned);
  world.transition(job, {2, 3}, {}, 4);
  EXPECT_EQ(world.record(job).step, 4u);
  EXPECT_EQ(world.record(job).reason, "");
  EXPECT_EQ(world.record(job).restarts, 2u);
}

TEST(Membership, ALostPieceOfStateRestores) {
  World world(2);
  const JobId job = world.submit(spec_text("a", 1, 2));
  world.train(job);
  world.end(job, 1, kKilled);
  world.say(job, 0, Parked{4, {}});
  world.link.sent.clear();
  world.say(job, 0, StateLost{"the curvature of block 3"});
  const auto group = world.reconfigured(job, 0);
  ASSERT_TRUE(group);
  EXPECT_TRUE(group->restore);
}

TEST(Membership, AnActorThatDiesAtOnceIsReplacedWithGrowingPauses) {
  World world(2);
  const JobId job = world.submit(spec_text("a", 1, 2));
  world.train(job);
  int started = 0;
  ActorId next = 1;
  for (int i = 0; i < 240; ++i) {
    if (world.pid_of(job, next) != 0 && world.processes.running.contains(world.pid_of(job, next))) {
      world.end(job, next, kKilled);
      world.transition(job, {0});
      ++next;
      ++started;
    }
    world.pass(job, 0.5);
  }
  EXPECT_GE(started, 6);
  EXPECT_LE(started, 9) << "in 120 leases: 0, 1, 3, 7, 15, 31, 63 ...";
  EXPECT_EQ(world.record(job).state, JobState::kRunning);
}

TEST(Membership, ASignalBeforeTheFirstStepIsNoVerdictButAnExitIs) {
  World world(2);
  const JobId job = world.submit(spec_text("a", 2, 2));
  world.prepare(job, 0);
  world.end(job, 1, kKilled);
  EXPECT_EQ(world.record(job).state, JobState::kStarting);
  world.prepare(job, 2);
  ASSERT_TRUE(world.reconfigured(job, 0));
  world.end(job, 2, kExit3);
  world.pass(job, 1);
  EXPECT_EQ(world.record(job).state, JobState::kFailed);
  EXPECT_THAT(world.record(job).reason, HasSubstr("actor 2 exited with code 3"));
}

TEST(Membership, EnoughOthersStartWithoutTheOneThatCannot) {
  World world(3);
  const JobId job = world.submit(spec_text("a", 2, 3));
  world.prepare(job, 0);
  world.prepare(job, 2);
  EXPECT_FALSE(world.reconfigured(job, 0));
  world.end(job, 1, kExit3);
  world.pass(job, 1);
  const auto group = world.reconfigured(job, 0);
  ASSERT_TRUE(group);
  EXPECT_THAT(ids(group->members), ElementsAre(0, 2));
  EXPECT_TRUE(group->restore);
}

TEST(Membership, ScalingUpAndDown) {
  World world(4);
  const JobId job = world.submit(spec_text("a", 2, 2));
  world.train(job);
  ASSERT_TRUE(world.head().scale("1", 4));
  world.settle();
  EXPECT_EQ(world.processes.running.size(), 4u);
  EXPECT_EQ(world.record(job).actors_max, 4u);
  world.prepare(job, 2);
  world.prepare(job, 3);  // while the first one's transition is under way
  world.transition(job, {0, 1, 2}, {}, 3);
  world.transition(job, {0, 1, 2, 3}, {}, 4);
  EXPECT_EQ(world.record(job).actors, 4u);
  EXPECT_EQ(world.record(job).restarts, 0u);
  world.link.sent.clear();

  ASSERT_TRUE(world.head().scale("a", 1));
  world.settle();
  const auto group = world.reconfigured(job, 3);
  ASSERT_TRUE(group);
  EXPECT_THAT(ids(group->members), ElementsAre(0));
  EXPECT_THAT(ids(group->leavers), ElementsAre(3, 2, 1));
  EXPECT_TRUE(group->planned);
  EXPECT_EQ(world.record(job).actors_min, 1u);
  world.transition(job, {0}, {1, 2, 3}, 6);
  EXPECT_EQ(world.record(job).actors, 1u);
  for (const ActorId leaver : {1, 2, 3}) {
    world.say(job, leaver, Finished{6, false, "", "", true});
    world.end(job, leaver, kExit0);
  }
  EXPECT_EQ(world.record(job).state, JobState::kRunning);
  EXPECT_THAT(world.event_kinds(job), Not(HasSubstr("ActorLost")));

  EXPECT_EQ(world.head().scale("a", 0).error().code, ErrorCode::kInvalidArgument);
  EXPECT_THAT(world.head().scale("a", 9).error().message, HasSubstr("8 micro-batches"));
  ASSERT_TRUE(world.head().scale("a", 8));
  EXPECT_THAT(world.record(job).reason, HasSubstr("this node has 4 slots"));
  world.settle();
  world.restart();
  EXPECT_EQ(world.record(job).actors_max, 8u) << "kept by the store";
}

TEST(Membership, DrainingReplaces) {
  World world(3);
  const JobId job = world.submit(spec_text("a", 2, 2));
  world.train(job);
  EXPECT_EQ(world.head().drain("a", 7).error().code, ErrorCode::kNotFound);
  ASSERT_TRUE(world.head().drain("a", 0));  // the leader, why not
  world.settle();
  EXPECT_FALSE(world.reconfigured(job, 0)) << "first its replacement";
  world.prepare(job, 2);
  const auto group = world.reconfigured(job, 0);
  ASSERT_TRUE(group);
  EXPECT_THAT(ids(group->members), ElementsAre(1, 2));
  EXPECT_THAT(ids(group->leavers), ElementsAre(0));
  EXPECT_TRUE(group->planned);
  world.transition(job, {1, 2}, {0}, 4);
  EXPECT_EQ(world.record(job).restarts, 0u);
}

TEST(Membership, DrainingWithoutAFreeSlotShrinksFirst) {
  World world(2);
  const JobId job = world.submit(spec_text("a", 1, 2));
  world.train(job);
  ASSERT_TRUE(world.head().drain("a", 0));
  world.settle();
  const auto group = world.reconfigured(job, 0);
  ASSERT_TRUE(group);
  EXPECT_THAT(ids(group->members), ElementsAre(1));
  world.transition(job, {1}, {0}, 4);
  EXPECT_EQ(world.pid_of(job, 2), 0);
  world.say(job, 0, Finished{4, false, "", "", true});
  world.end(job, 0, kExit0);
  EXPECT_NE(world.pid_of(job, 2), 0) << "the slot's next";
}

TEST(Membership, AWaitingJobGetsItsMinFromOthersGrowth) {
  World world(3);
  const JobId first = world.submit(spec_text("a", 1, 3));
  world.train(first);
  const JobId second = world.submit(spec_text("b", 1, 1));
  EXPECT_THAT(world.record(second).reason, HasSubstr("others make room"));
  const auto group = world.reconfigured(first, 2);
  ASSERT_TRUE(group);
  EXPECT_THAT(ids(group->leavers), ElementsAre(2));
  world.transition(first, {0, 1}, {2}, 4);
  world.say(first, 2, Finished{4, false, "", "", true});
  world.end(first, 2, kExit0);
  EXPECT_EQ(world.record(second).state, JobState::kStarting);
  world.train(second);
  world.say(second, 0, Finished{8, false, "w", "s"});
  world.end(second, 0, kExit0);
  EXPECT_NE(world.pid_of(first, 3), 0) << "it grows again";
}

TEST(Membership, ASilentMemberIsLeftOutAndMayComeBack) {
  World world(2);
  const JobId job = world.submit(spec_text("a", 2, 2));
  world.train(job);
  world.pass(job, 1.6, {1});
  const auto group = world.reconfigured(job, 0);
  ASSERT_TRUE(group);
  EXPECT_THAT(ids(group->members), ElementsAre(0));
  EXPECT_FALSE(group->planned);
  const GroupEpoch old{1, 1};
  world.transition(job, {0}, {}, 3);
  world.pass(job, 5, {1});
  EXPECT_TRUE(world.processes.running[world.pid_of(job, 1)].signals.empty());
  world.link.sent.clear();
  world.say_in(job, 1, old, Finished{8, false, "w", "s"});
  EXPECT_EQ(world.record(job).state, JobState::kRunning) << "it is fenced";
  const auto back = world.reconfigured(job, 1);
  ASSERT_TRUE(back);
  EXPECT_THAT(ids(back->members), ElementsAre(0, 1));
  EXPECT_TRUE(back->planned);
}

TEST(Membership, ASilentMemberThatStaysSilentIsKilledAndReplaced) {
  World world(2);
  const JobId job = world.submit(spec_text("a", 2, 2));
  world.train(job);
  const pid_t pid = world.pid_of(job, 1);
  world.pass(job, 1.6, {1});
  world.transition(job, {0}, {}, 3);
  world.pass(job, 9, {1});
  EXPECT_EQ(world.processes.running[pid].signals, std::vector<int>{SIGKILL});
  world.end(job, 1, kKilled);
  EXPECT_NE(world.pid_of(job, 2), 0);
}

TEST(Membership, AHungComputeThreadIsKilledThoughItsHeartbeatsGoOn) {
  World world(2);
  const JobId job = world.submit(spec_text("a", 1, 2));
  world.train(job);
  Progress moving, hung;
  moving.activity = kWaiting;
  moving.awaits = {1};
  hung.activity = kComputing;
  hung.counter = 7;
  hung.micro_batches = 10;
  hung.compute_seconds = 2;  // 20 times the mean of 0.2 s
  const pid_t pid = world.pid_of(job, 1);
  for (int i = 0; i < 8; ++i) {
    EXPECT_TRUE(world.processes.running[pid].signals.empty()) << i;
    world.say(job, 0, moving);
    world.say(job, 1, hung);
    world.advance(0.5);
  }
  EXPECT_EQ(world.processes.running[pid].signals, std::vector<int>{SIGKILL});
  const auto group = world.reconfigured(job, 0);
  ASSERT_TRUE(group);
  EXPECT_THAT(ids(group->members), ElementsAre(0));
}

Progress progress_of(std::uint64_t step, std::uint8_t activity) {
  Progress out;
  out.applied_step = out.counter = step;
  out.activity = activity;
  out.micro_batches = 10;
  out.compute_seconds = 0.1;
  out.steps.resize(1);
  out.steps[0].step = step;
  return out;
}

std::vector<std::uint64_t> stored_steps(World& world, JobId job) {
  std::vector<std::uint64_t> out;
  const auto steps = world.store->steps(job, 0, 100);
  for (const StepMetrics& s : *steps) out.push_back(s.step);
  return out;
}

// Two members, and a third is announced.
void plan_growth(World& world, JobId job) {
  world.train(job);
  ASSERT_TRUE(world.head().scale("a", 3));
  world.settle();
  world.prepare(job, 2);
  const auto group = world.reconfigured(job, 2);
  ASSERT_TRUE(group);
  ASSERT_TRUE(group->planned);
  EXPECT_EQ(group->follows, (GroupEpoch{1, 1}));
}

TEST(Membership, WhatIsReportedBeforeAPlannedChangeCounts) {
  World world(3);
  const JobId job = world.submit(spec_text("a", 2, 2));
  plan_growth(world, job);
  const GroupEpoch old{1, 1};
  world.say_in(job, 0, old, progress_of(1, kComputing));
  EXPECT_EQ(world.record(job).step, 1u);
  EpochReport epoch;
  epoch.metrics.step = 1;
  epoch.metrics.test_accuracy = 0.5;
  world.say_in(job, 1, old, EpochReport{});
  world.say_in(job, 0, old, epoch);
  EXPECT_EQ(world.record(job).test_accuracy, 0.5);
  world.say_in(job, 0, old, CheckpointReport{1, "/c/step-1", "w1", "s1", ""});
  EXPECT_EQ(world.record(job).checkpoint, "/c/step-1");
  world.transition(job, {0, 1, 2}, {}, 2);
  Progress late = progress_of(2, kComputing);
  late.applied_step = 7;
  world.say_in(job, 0, old, late);
  world.say_in(job, 1, old, progress_of(3, kComputing));
  EXPECT_EQ(world.record(job).step, 1u) << "what is late says nothing of now";
  ASSERT_TRUE(world.store->flush());
  EXPECT_THAT(stored_steps(world, job), ElementsAre(1, 2));
}

TEST(Membership, ALongStepBeforeAPlannedChangeIsNoHang) {
  World world(3);
  const JobId job = world.submit(spec_text("a", 2, 2));
  plan_growth(world, job);
  const GroupEpoch old{1, 1};
  for (std::uint64_t i = 1; i < 300; ++i) {
    world.say_in(job, 0, old, progress_of(i, kComputing));
    world.say_in(job, 1, old, progress_of(i, kComputing));
    world.say(job, 2, progress_of(0, kIdle));
    world.advance(0.5);
  }
  for (const ActorId actor : {0, 1, 2})  // the newcomer follows it
    EXPECT_TRUE(world.processes.running[world.pid_of(job, actor)].signals.empty()) << actor;
  world.say(job, 0, Parked{1, {}});
  world.say(job, 1, Parked{1, {}});
  world.pass(job, world.options.timeouts.transition_s() + 1);
  for (const ActorId actor : {0, 1})
    EXPECT_TRUE(world.processes.running[world.pid_of(job, actor)].signals.empty()) << actor;
  EXPECT_EQ(world.processes.running[world.pid_of(job, 2)].signals, std::vector<int>{SIGKILL})
      << "there is nothing left to follow";
}

TEST(Membership, AHangBeforeAPlannedChangeIsSeen) {
  World world(3);
  const JobId job = world.submit(spec_text("a", 2, 2));
  plan_growth(world, job);
  const GroupEpoch old{1, 1};
  world.say(job, 2, Parked{0, {}});
  Progress waiting = progress_of(1, kWaiting);
  waiting.awaits = {1};
  const pid_t pid = world.pid_of(job, 1);
  world.say_in(job, 0, old, waiting);
  world.say_in(job, 1, old, progress_of(1, kComputing));
  world.say(job, 1, Parked{1, {}});
  for (int i = 0; i < 6; ++i) {
    EXPECT_TRUE(world.processes.running[pid].signals.empty()) << i;
    world.say_in(job, 0, old, waiting);
    world.say(job, 1, progress_of(1, kIdle));
    world.say(job, 2, progress_of(0, kIdle));
    world.advance(0.5);
  }
  EXPECT_EQ(world.processes.running[pid].signals, std::vector<int>{SIGKILL})
      << "it has parked, but its last word does not reach the other";
}

TEST(Membership, ANewcomerThatDoesNotComeToTheLastStepIsKilledSoon) {
  World world(3);
  const JobId job = world.submit(spec_text("a", 2, 2));
  plan_growth(world, job);
  const GroupEpoch old{1, 1};
  const pid_t pid = world.pid_of(job, 2);
  world.say_in(job, 0, old, progress_of(1, kComputing));
  world.say_in(job, 1, old, progress_of(1, kComputing));
  world.say(job, 0, Parked{1, {}});
  world.say(job, 1, Parked{1, {}});
  for (int i = 0; i < 6; ++i) {
    EXPECT_TRUE(world.processes.running[pid].signals.empty()) << i;
    world.say(job, 0, progress_of(1, kIdle));
    world.say(job, 1, progress_of(1, kIdle));
    world.say_in(job, 2, {}, progress_of(1, kWaiting));
    world.advance(0.5);
  }
  EXPECT_EQ(world.processes.running[pid].signals, std::vector<int>{SIGKILL});
}

// It was left out at step 1; the others went on, wrote a checkpoint, and died.
TEST(Membership, ASilentMemberThatComesBackAloneDoesNotTakeTheGroupBehindACheckpoint) {
  for (const std::uint64_t checkpoint : {0u, 4u}) {
    SCOPED_TRACE(checkpoint);
    World world(2);
    const JobId job = world.submit(spec_text("a", 1, 2));
    world.train(job);
    world.say(job, 1, progress_of(1, kComputing));
    world.pass(job, 1.6, {1});
    world.transition(job, {0}, {}, 1);
    if (checkpoint > 0) world.say(job, 0, CheckpointReport{checkpoint, "/c/step", "w", "s", ""});
    Progress progress = progress_of(9, kComputing);
    progress.applied_step = 6;
    world.say(job, 0, progress);
    world.end(job, 0, kKilled);
    world.link.sent.clear();
    world.say_in(job, 1, {1, 1}, progress_of(2, kComputing));
    auto group = world.reconfigured(job, 1);
    ASSERT_TRUE(group);
    EXPECT_FALSE(group->restore) << "it may be the only one that holds a state";
    world.link.sent.clear();
    world.say(job, 1, Parked{1});
    if (checkpoint == 0) {
      ASSERT_TRUE(world.told<Assign>(job, 1)) << "better than the beginning";
      world.say(job, 1, Ready{});
      EXPECT_EQ(world.record(job).step, 1u) << "and the status says so";
      EXPECT_THAT(world.event_kinds(job), HasSubstr("Resumed"));
      continue;
    }
    group = world.reconfigured(job, 1);
    ASSERT_TRUE(group);
    EXPECT_TRUE(group->restore);
  }
}

TEST(Membership, TheOnlyActorIsNoHungOneWhenItIsSilentOrDead) {
  World world(1);
  const JobId job = world.submit(spec_text("a", 1, 1));
  world.train(job);
  const pid_t pid = world.pid_of(job, 0);
  world.say(job, 0, progress_of(1, kComputing));
  world.advance(5);
  EXPECT_TRUE(world.processes.running[pid].signals.empty()) << "what it holds is nowhere else: wait for it";
  world.say(job, 0, progress_of(2, kComputing));
  world.end(job, 0, kKilled);
  world.advance(5);
  const std::string kinds = world.event_kinds(job);
  EXPECT_EQ(kinds.find("ActorLost"), kinds.rfind("ActorLost")) << kinds;
}

TEST(Membership, AFinishedWordOfTheMembershipBeforeCounts) {
  World world(2);
  const JobId job = world.submit(spec_text("a", 2, 2));
  world.train(job);
  world.end(job, 1, kKilled);
  world.say_in(job, 0, {1, 1}, Finished{8, false, "w", "s"});
  EXPECT_EQ(world.record(job).state, JobState::kSucceeded);
}

TEST(Membership, AStopIsToldToThoseWhoJoinLater) {
  World world(2);
  const JobId job = world.submit(spec_text("a", 2, 2));
  world.train(job);
  ASSERT_TRUE(world.head().stop("a"));
  world.end(job, 0, kKilled);
  EXPECT_EQ(world.pid_of(job, 2), 0) << "no replacement for the last steps";
  world.say(job, 1, Parked{3, {}});
  world.link.sent.clear();
  world.say(job, 1, Ready{});
  ASSERT_TRUE(world.told<Resume>(job, 1));
  ASSERT_TRUE(world.told<StopTraining>(job, 1));
  world.end(job, 1, kKilled);
  EXPECT_EQ(world.record(job).state, JobState::kStopped);
  EXPECT_THAT(world.record(job).reason, HasSubstr("its last actor was lost"));
}

TEST(Membership, ANewDaemonTakesOverWhoTrains) {
  World world(2);
  const JobId job = world.submit(spec_text("a", 2, 2));
  world.train(job);
  Progress progress;
  progress.applied_step = 5;
  progress.steps.resize(1);
  progress.steps[0].step = 5;
  world.say(job, 0, progress);
  world.pass(job, 2);
  const GroupEpoch epoch = world.record(job).epoch;
  const std::string token = world.hello(job, 0, epoch)->job_token;
  world.restart();
  EXPECT_TRUE(world.processes.leftovers.empty());
  EXPECT_EQ(world.record(job).state, JobState::kRunning);
  EXPECT_EQ(world.record(job).step, 5u);
  EXPECT_TRUE(world.head().knows(job, 0));
  world.link.sent.clear();
  const auto welcome = world.hello(job, 0, epoch, 5, kComputing);
  ASSERT_TRUE(welcome);
  progress.steps[0].step = 4;
  world.say_in(job, 0, epoch, progress);  // told again, for the daemon before may not have stored it
  EXPECT_THAT(stored_steps(world, job), ElementsAre(4, 5)) << "though not all were heard yet";
  EXPECT_EQ(welcome->job_token, token);
  ASSERT_TRUE(world.hello(job, 1, epoch, 5, kWaiting));
  EXPECT_FALSE(world.reconfigured(job, 0)) << "nothing has changed";
  EXPECT_EQ(world.record(job).epoch, epoch);
  progress.applied_step = 6;
  world.say(job, 0, progress);
  EXPECT_EQ(world.record(job).step, 6u);
  // And the next change is of the new daemon.
  world.end(job, 1, kKilled);
  world.pass(job, 0.6);
  const auto group = world.reconfigured(job, 0);
  ASSERT_TRUE(group);
  EXPECT_THAT(ids(group->members), ElementsAre(0));
  EXPECT_FALSE(group->restore);
  EXPECT_EQ(world.record(job).epoch, (GroupEpoch{2, 1}));
  EXPECT_NE(world.pid_of(job, 2), 0) << "numbers go on";
}

TEST(Membership, ANewDaemonRegroupsWhoDisagrees) {
  World world(3);
  const JobId job = world.submit(spec_text("a", 2, 3));
  world.train(job);
  const GroupEpoch epoch = world.record(job).epoch;
  world.restart();
  world.link.sent.clear();
  ASSERT_TRUE(world.hello(job, 0, epoch, 5, kComputing));
  ASSERT_TRUE(world.hello(job, 1, epoch, 5, kIdle));
  EXPECT_FALSE(world.reconfigured(job, 0));
  world.pass(job, 2.1, {2});
  const auto group = world.reconfigured(job, 0);
  ASSERT_TRUE(group);
  EXPECT_THAT(ids(group->members), ElementsAre(0, 1));
  EXPECT_FALSE(group->restore);
}

TEST(Membership, ANewDaemonResumesWhatNobodySurvived) {
  World world(2);
  const JobId job = world.submit(spec_text("a", 2, 2));
  world.train(job);
  world.say(job, 0, CheckpointReport{4, "/c/step-4", "w4", "s4", ""});
  world.pass(job, 2);
  world.processes.running.clear();  // the machine was started anew
  world.restart();
  EXPECT_EQ(world.record(job).state, JobState::kRunning);
  EXPECT_THAT(world.record(job).reason, HasSubstr("resumes from its newest checkpoint"));
  world.prepare(job, 2);
  world.prepare(job, 3);
  const auto group = world.reconfigured(job, 2);
  ASSERT_TRUE(group);
  EXPECT_TRUE(group->restore);
  world.transition(job, {2, 3}, {}, 4);
  EXPECT_EQ(world.record(job).step, 4u);
}

TEST(Membership, ADaemonThatOnlyStartedAJobStartsItAgain) {
  World world(1);
  const JobId job = world.submit(spec_text("a", 1, 1));
  world.advance(1);
  world.restart();
  EXPECT_EQ(world.processes.leftovers.size(), 1u);
  EXPECT_EQ(world.record(job).state, JobState::kStarting);
  EXPECT_NE(world.pid_of(job, 1), 0);
}

TEST(Membership, KeptActorsAreNotAskedToStop) {
  World world(1);
  const JobId job = world.submit(spec_text("a", 1, 1));
  world.train(job);
  world.head().begin_shutdown("the daemon was stopped", true);
  EXPECT_TRUE(world.head().shut_down());
  EXPECT_FALSE(world.told<StopTraining>(job, 0));
  EXPECT_EQ(world.record(job).state, JobState::kRunning);
}

}  // namespace
}  // namespace seng::testing::head_membership_test
