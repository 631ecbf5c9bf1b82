// The head: a job that makes room for one of a higher priority, and comes again.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/daemon/fake_world.h"

namespace seng::testing {
namespace {

using ::testing::HasSubstr;

std::string urgent_text(int min, int max) {
  return spec_text("urgent", min, max) + "priority: 5\n";
}

void stop_in_order(World& world, JobId job, std::uint64_t step) {
  world.say(job, 0, CheckpointReport{step, "/c/step", "w", "s", ""});
  Finished finished;
  finished.step = step;
  finished.stopped = true;
  world.say(job, 0, finished);
}

TEST(Preemption, AJobOfALowerPriorityMakesRoomAndGoesOnLater) {
  World world(2);
  const JobId low = world.submit(spec_text("low", 2, 2));
  world.train(low);
  const JobId high = world.submit(urgent_text(1, 1));
  ASSERT_NE(high, 0u) << world.error.message;
  EXPECT_TRUE(world.told<StopTraining>(low, 0));
  EXPECT_TRUE(world.told<StopTraining>(low, 1));
  EXPECT_THAT(world.record(high).reason, HasSubstr("others make room"));
  world.pass(low, 2);
  EXPECT_TRUE(world.link.sent[std::pair(low, ActorId{0})].empty()) << "asked once";
  stop_in_order(world, low, 5);
  EXPECT_EQ(world.record(low).state, JobState::kQueued);
  EXPECT_TRUE(world.told<Retire>(low, 1));
  Finished retired;
  retired.retired = true;
  world.say(low, 1, retired);
  world.end(low, 0, {false, 0});
  world.end(low, 1, {false, 0});
  EXPECT_EQ(world.record(high).state, JobState::kStarting);
  EXPECT_THAT(
      world.record(low).reason,
      HasSubstr("made room for job 2, which has a higher priority; goes on from its checkpoint of step 5 "
                "in its turn; waits for 2 slots"));
  world.train(high);
  ASSERT_TRUE(world.head().stop(std::to_string(high)));
  stop_in_order(world, high, 3);
  world.end(high, 0, {false, 0});

  // It comes again: new actors, which restore.
  EXPECT_EQ(world.record(low).state, JobState::kStarting);
  EXPECT_EQ(world.record(low).reason, "");
  EXPECT_EQ(world.processes.running.size(), 2u) << "no more than its max";
  const GroupEpoch before = world.record(low).epoch;
  world.prepare(low, 2);
  EXPECT_FALSE(world.reconfigured(low, 2)) << "the other one is starting";
  world.prepare(low, 3);
  const auto group = world.reconfigured(low, 2);
  ASSERT_TRUE(group);
  EXPECT_TRUE(group->restore);
  EXPECT_EQ(group->members.size(), 2u);
  EXPECT_LT(before, world.record(low).epoch);
  world.transition(low, {2, 3}, {}, 5);
  EXPECT_EQ(world.record(low).state, JobState::kRunning);
  EXPECT_EQ(world.record(low).step, 5u);
  EXPECT_EQ(world.record(low).restarts, 0u);
}

TEST(Preemption, OneThatIsStartingGoesBackAtOnce) {
  World world(1);
  const JobId low = world.submit(spec_text("low", 1, 1));
  const JobId high = world.submit(urgent_text(1, 1));
  EXPECT_EQ(world.record(low).state, JobState::kQueued);
  EXPECT_THAT(world.record(low).reason, HasSubstr("made room for job 2"));
  world.end(low, 0, {true, SIGTERM});
  EXPECT_EQ(world.record(high).state, JobState::kStarting);
  EXPECT_EQ(world.record(low).restarts, 0u);
}

TEST(Preemption, OneThatTheUserStopsMeanwhileStaysStopped) {
  World world(1);
  const JobId low = world.submit(spec_text("low", 1, 1));
  world.train(low);
  const JobId high = world.submit(urgent_text(1, 1));
  ASSERT_TRUE(world.head().stop(std::to_string(low)));
  stop_in_order(world, low, 5);
  world.end(low, 0, {false, 0});
  EXPECT_EQ(world.record(low).state, JobState::kStopped);
  EXPECT_EQ(world.record(high).state, JobState::kStarting);
}

TEST(Preemption, AnotherDaemonKnowsTheQueue) {
  World world(1);
  const JobId low = world.submit(spec_text("low", 1, 1));
  world.train(low);
  const JobId high = world.submit(urgent_text(1, 1));
  stop_in_order(world, low, 5);
  world.end(low, 0, {false, 0});
  world.train(high);
  world.restart();
  EXPECT_EQ(world.record(low).state, JobState::kQueued);
  EXPECT_EQ(world.record(high).state, JobState::kRunning);
}

}  // namespace
}  // namespace seng::testing
