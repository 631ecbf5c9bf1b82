// The head: shares of work by speed, and ends that wait for their checkpoint.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/daemon/fake_world.h"

namespace seng::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

std::vector<std::uint32_t> sizes(const std::vector<Member>& members) {
  std::vector<std::uint32_t> out;
  for (const Member& m : members) out.push_back(m.last_micro - m.first_micro);
  return out;
}

// Actors of a job of 8 micro-batches that report, each with milliseconds of its own for a micro-batch.
class Paced {
 public:
  Paced(World& world, JobId job) : world_(world), job_(job) {}
  void pass(int leases, const std::map<ActorId, double>& ms) {
    for (int beat = 0; beat < 3 * leases; ++beat) {
      step_ += 10;
      for (const auto& [actor, each] : ms) {
        Progress& p = reports_[actor];
        p.activity = kComputing;
        ++p.counter;
        p.applied_step = step_;
        p.micro_batches += 10;
        p.compute_seconds += 10e-3 * each;
        world_.say(job_, actor, p);
      }
      world_.advance(1.0 / 3);
    }
  }
  std::uint64_t step() const { return step_; }

 private:
  World& world_;
  JobId job_;
  std::uint64_t step_ = 0;
  std::map<ActorId, Progress> reports_;
};

TEST(Balance, ASlowActorGetsLessInOnePlannedChange) {
  World world(3);
  const JobId job = world.submit(spec_text("a", 1, 2), plan_text(1 << 20, 1000000));
  world.train(job);
  Paced paced(world, job);
  paced.pass(12, {{0, 10}, {1, 30}});
  const auto group = world.reconfigured(job, 1);
  ASSERT_TRUE(group);
  EXPECT_TRUE(group->planned);
  EXPECT_THAT(sizes(group->members), ElementsAre(6, 2));
  EXPECT_EQ(group->members[1].first_micro, 6u);
  EXPECT_THAT(world.event_kinds(job), HasSubstr("Rebalanced"));
  world.transition(job, {0, 1}, {}, paced.step());
  world.link.sent.clear();
  // Once in 20 leases, however the speeds change; nobody's process does.
  paced.pass(6, {{0, 30}, {1, 10}});
  EXPECT_FALSE(world.reconfigured(job, 0));
  paced.pass(20, {{0, 30}, {1, 10}});
  const auto back = world.reconfigured(job, 0);
  ASSERT_TRUE(back);
  EXPECT_THAT(sizes(back->members), ElementsAre(2, 6));
  EXPECT_EQ(world.record(job).restarts, 0u);
}

TEST(Balance, AChangeOfMembersUsesWhatIsKnown) {
  World world(3);
  const JobId job = world.submit(spec_text("a", 1, 2), plan_text(1 << 20, 1000000));
  world.train(job);
  Paced paced(world, job);
  paced.pass(6, {{0, 10}, {1, 30}});
  ASSERT_TRUE(world.head().scale(std::to_string(job), 3));
  world.settle();
  world.prepare(job, 2);
  const auto group = world.reconfigured(job, 2);
  ASSERT_TRUE(group);
  EXPECT_THAT(sizes(group->members), ElementsAre(5, 2, 1)) << "the newcomer is taken for a median one";
}

TEST(LastCheckpoint, IsTriedAgainByTheSameMembers) {
  World world(2);
  const JobId job = world.submit(spec_text("a", 1, 2));
  world.train(job);
  for (const ActorId actor : {0u, 1u}) {
    Progress done;
    done.applied_step = 8;
    world.say(job, actor, done);
  }
  for (const double pause : {5.0, 10.0, 20.0}) {
    world.say(job, 0, CheckpointReport{8, "", "", "", "no space left"});
    EXPECT_THAT(world.record(job).reason, HasSubstr("no space left"));
    world.pass(job, pause - 0.5);
    EXPECT_FALSE(world.reconfigured(job, 0)) << pause;
    world.pass(job, 1);
    const auto again = world.reconfigured(job, 0);
    ASSERT_TRUE(again) << pause;
    EXPECT_FALSE(again->planned);
    EXPECT_FALSE(again->restore);
    EXPECT_EQ(again->members.size(), 2u);
    world.transition(job, {0, 1}, {}, 8);
  }
  world.say(job, 0, CheckpointReport{8, "/c/step-8", "w", "s", ""});
  Finished finished;
  finished.step = 8;
  world.say(job, 0, finished);
  EXPECT_EQ(world.record(job).state, JobState::kSucceeded);
  EXPECT_EQ(world.record(job).reason, "");
  EXPECT_EQ(world.record(job).restarts, 0u);
}

TEST(LastCheckpoint, AnotherOneIsNotTriedAgain) {
  World world(2);
  const JobId job = world.submit(spec_text("a", 1, 2));
  world.train(job);
  world.say(job, 0, CheckpointReport{4, "", "", "", "no space left"});
  world.pass(job, 30);
  EXPECT_FALSE(world.reconfigured(job, 0));
  EXPECT_THAT(world.event_kinds(job), HasSubstr("CheckpointFailed"));
}

TEST(LastCheckpoint, ARecordSaysThatTheNewestIsMissingAsLongAsThatHolds) {
  World world(2);
  const JobId job = world.submit(spec_text("a", 1, 2));
  world.train(job);
  world.say(job, 0, CheckpointReport{2, "/c/step-2", "w", "s", ""});
  EXPECT_EQ(world.record(job).checkpoint_error, "");
  const std::uint64_t revision = world.record(job).revision;
  world.say(job, 0, CheckpointReport{4, "", "", "", "no space left"});
  EXPECT_EQ(world.record(job).checkpoint_error, "step 4: no space left");
  EXPECT_EQ(world.record(job).checkpoint, "/c/step-2");
  EXPECT_GT(world.record(job).revision, revision) << "who watches hears of it";
  world.say(job, 0, CheckpointReport{2, "/c/step-2", "w", "s", ""});
  EXPECT_NE(world.record(job).checkpoint_error, "") << "an old one that is told again";
  world.say(job, 0, CheckpointReport{6, "/c/step-6", "w6", "s6", ""});
  EXPECT_EQ(world.record(job).checkpoint_error, "");
}

TEST(LastCheckpoint, AStopThatCannotWriteOneSaysSoInTheEnd) {
  World world(2);
  const JobId job = world.submit(spec_text("a", 1, 2));
  world.train(job);
  ASSERT_TRUE(world.head().stop(std::to_string(job)));
  std::uint64_t step = 4;
  int attempts = 0;
  for (int i = 0; i < 125 && world.record(job).state == JobState::kRunning; ++i) {
    if (i == 0 || world.reconfigured(job, 0)) {
      if (i > 0) world.transition(job, {0, 1}, {}, step);
      ++attempts;
      if (step < 7) ++step;
      world.say(job, 0, CheckpointReport{step, "", "", "", "no space left"});
    }
    world.pass(job, 1);
  }
  EXPECT_GE(attempts, 4);
  EXPECT_EQ(world.record(job).state, JobState::kStopped);
  EXPECT_THAT(world.record(job).reason,
              HasSubstr("stopped by the user; without its last checkpoint, which could not be written: "
                        "no space left"));
}

TEST(LastCheckpoint, ASilentGroupDoesNotMakeTheDaemonSpin) {
  World world(2);
  const JobId job = world.submit(spec_text("a", 1, 1));
  world.train(job);
  world.say(job, 0, CheckpointReport{8, "", "", "", "no space left"});
  world.advance(9);  // nothing is heard; a deadline that never passes fails this
  EXPECT_EQ(world.record(job).state, JobState::kRunning);
  EXPECT_THAT(world.event_kinds(job), HasSubstr("ActorSilent"));
}

}  // namespace
}  // namespace seng::testing
