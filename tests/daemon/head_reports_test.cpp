// What actors report while their membership ends: of the step that they finish for a planned change, while
// the next membership cannot be stored, and to another daemon before it knows where they are.
#include <algorithm>

#include <gtest/gtest.h>

#include "daemon/head.h"
#include "tests/daemon/fake_world.h"

namespace seng::testing {
namespace {

Progress computing(std::uint64_t counter) {
  Progress out;
  out.applied_step = 4;
  out.activity = kComputing;
  out.counter = counter;
  out.micro_batches = 100;
  out.compute_seconds = 1;
  return out;
}

bool was_killed(World& world, JobId job, ActorId actor) {
  const auto found = world.processes.running.find(world.pid_of(job, actor));
  if (found == world.processes.running.end()) return true;
  return std::ranges::count(found->second.signals, SIGKILL) > 0;
}

// Actors 0 and 1 train, 2 is to join them.
GroupEpoch begin_planned(World& world, JobId job) {
  world.train(job);
  const GroupEpoch epoch = world.record(job).epoch;
  for (const ActorId actor : {0, 1}) world.say(job, actor, computing(1));
  EXPECT_TRUE(world.head().scale(std::to_string(job), 3));
  world.settle();
  world.prepare(job, 2);
  return epoch;
}

TEST(Reports, WhoFinishesALongStepForAPlannedChangeIsNotTakenForHung) {
  World world(3);
  const JobId job = world.submit(spec_text("a", 1, 2));
  const GroupEpoch epoch = begin_planned(world, job);
  ASSERT_TRUE(world.reconfigured(job, 0)->planned);
  for (std::uint64_t i = 2; i < 20; ++i) {
    for (const ActorId actor : {0, 1}) world.say_in(job, actor, epoch, computing(i));
    world.say(job, 2, Progress{});
    world.advance(0.5);
  }
  for (const ActorId actor : {0, 1, 2}) EXPECT_FALSE(was_killed(world, job, actor)) << actor;
  // But who hangs in it is.
  for (std::uint64_t i = 20; i < 26; ++i) {
    world.say_in(job, 0, epoch, computing(i));
    world.say_in(job, 1, epoch, computing(19));
    world.say(job, 2, Progress{});
    world.advance(0.5);
  }
  EXPECT_FALSE(was_killed(world, job, 0));
  EXPECT_TRUE(was_killed(world, job, 1));
}

TEST(Reports, WhoDoesNotParkForAPlannedChangeIsKilledInTheEnd) {
  World world(3);
  const JobId job = world.submit(spec_text("a", 1, 2));
  begin_planned(world, job);
  for (const ActorId actor : {0, 1}) world.say(job, actor, Parked{5, {}});
  // It goes on taking what comes, and never comes to the end.
  Progress taking;
  const auto takes = [&](double seconds) {
    for (double passed = 0; passed < seconds; ++passed) {
      ++taking.counter;
      world.say_in(job, 2, {}, taking);
      world.pass(job, 1);
    }
  };
  takes(world.options.timeouts.transition_s() - 1);
  EXPECT_FALSE(was_killed(world, job, 2));
  world.link.sent.clear();
  takes(2);
  EXPECT_TRUE(was_killed(world, job, 2));
  const auto group = world.reconfigured(job, 0);
  ASSERT_TRUE(group);
  EXPECT_EQ(group->members.size(), 2u);
  EXPECT_FALSE(group->planned);
}

TEST(Reports, WhatIsReportedOfAMembershipsLastStepCounts) {
  World world(3);
  const JobId job = world.submit(spec_text("a", 1, 2));
  const GroupEpoch epoch = begin_planned(world, job);
  Progress progress = computing(2);
  progress.applied_step = 5;
  progress.steps.resize(1);
  progress.steps[0].step = 5;
  world.say_in(job, 0, epoch, progress);
  EXPECT_EQ(world.record(job).step, 5u);
  EXPECT_EQ(world.store->steps(job, 0, 10)->size(), 1u);
  EpochReport report;
  report.metrics.step = 5;
  world.say_in(job, 1, epoch, report);
  EXPECT_TRUE(world.store->epoch_metrics(job, 0)->empty()) << "actor 1 does not lead";
  world.say_in(job, 0, epoch, report);
  EXPECT_EQ(world.store->epoch_metrics(job, 0)->size(), 1u);
  world.say_in(job, 0, epoch, CheckpointReport{5, "/c/step-5", "w5", "s5", ""});
  EXPECT_EQ(world.record(job).checkpoint, "/c/step-5");
}

TEST(Reports, WhileTheNextMembershipCannotBeStoredNobodyIsTakenForHung) {
  World world(3);
  const JobId job = world.submit(spec_text("a", 1, 3));
  world.train(job);
  const GroupEpoch epoch = world.record(job).epoch;
  for (const ActorId actor : {0, 1, 2}) world.say(job, actor, computing(1));
  world.store->full = true;
  world.end(job, 1, {true, SIGKILL});
  Progress waiting = computing(2);
  waiting.activity = kWaiting;
  waiting.awaits = {1};
  for (int i = 0; i < 9; ++i) {
    for (const ActorId actor : {0, 2}) world.say_in(job, actor, epoch, waiting);
    world.advance(0.5);
  }
  for (const ActorId actor : {0, 2}) EXPECT_FALSE(was_killed(world, job, actor)) << actor;
}

TEST(Reports, ANewDaemonTakesTheLastWordBeforeItKnowsTheGroup) {
  World world(2);
  const JobId job = world.submit(spec_text("a", 1, 2));
  world.train(job);
  const GroupEpoch epoch = world.record(job).epoch;
  world.restart();
  ASSERT_TRUE(world.hello(job, 0, epoch, 7, kSaving));
  Progress progress = computing(9);
  progress.applied_step = 8;
  progress.steps.resize(1);
  progress.steps[0].step = 8;
  world.say_in(job, 0, epoch, progress);
  EXPECT_EQ(world.store->steps(job, 0, 10)->size(), 1u);
  world.say_in(job, 0, epoch, CheckpointReport{8, "/c/step-8", "w8", "s8", ""});
  world.say_in(job, 0, epoch, Finished{8, false, "w8", "s8", false});
  EXPECT_EQ(world.record(job).state, JobState::kSucceeded);
  EXPECT_EQ(world.record(job).state_sha256, "s8");
  EXPECT_EQ(world.record(job).checkpoint, "/c/step-8");
  world.end(job, 0, {false, 0});
  world.advance(10);  // the time to adopt has passed: of no consequence
  EXPECT_EQ(world.event_kinds(job).find("Adopted"), std::string::npos);
  EXPECT_EQ(world.event_kinds(job).find("ActorLost"), std::string::npos);
}

}  // namespace
}  // namespace seng::testing
