// The head: what a leader reports of steps counts, whichever membership they were made in.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/daemon/fake_world.h"

namespace seng::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

Progress steps(std::uint64_t first, std::uint64_t last) {
  Progress out;
  out.applied_step = last;
  out.activity = kComputing;
  for (std::uint64_t step = first; step <= last; ++step) {
    StepMetrics metrics;
    metrics.step = step;
    metrics.seconds = 0.1;
    out.steps.push_back(metrics);
  }
  return out;
}

TEST(FormerReports, OfTheMembershipBeforeAPlannedChange) {
  World world(3);
  const JobId job = world.submit(spec_text("a", 1, 2));
  world.train(job);
  const GroupEpoch before = world.record(job).epoch;
  ASSERT_TRUE(world.head().scale(std::to_string(job), 3));
  world.settle();
  world.prepare(job, 2);
  ASSERT_LT(before, world.record(job).epoch);
  // The group has not parked yet: it makes two more steps, and a checkpoint.
  world.say_in(job, 0, before, steps(1, 2));
  Progress other = steps(7, 8);
  other.applied_step = 2;
  world.say_in(job, 1, before, other);  // no leader
  world.say_in(job, 0, before, CheckpointReport{2, "/c/step-2", "w", "s", ""});
  EpochReport epoch;
  epoch.metrics.step = 2;
  world.say_in(job, 0, before, epoch);
  EXPECT_EQ(world.store->steps(job, 0, 100)->size(), 2u);
  EXPECT_EQ(world.store->epoch_metrics(job, 0)->size(), 1u);
  EXPECT_EQ(world.record(job).checkpoint, "/c/step-2");
  EXPECT_EQ(world.record(job).step, 2u);
}

// A leader tells a new daemon again what the one before may not have stored.
TEST(FormerReports, CountOnceThoughTheyAreToldTwice) {
  World world(1);
  const JobId job = world.submit(spec_text("a", 1, 1));
  world.train(job);
  EpochReport epoch;
  epoch.metrics.step = 2;
  for (int time = 0; time < 2; ++time) {
    world.say(job, 0, steps(1, 2));
    world.say(job, 0, epoch);
    world.say(job, 0, CheckpointReport{2, "/c/step-2", "w", "s", ""});
  }
  EXPECT_EQ(world.store->steps(job, 0, 100)->size(), 2u);
  EXPECT_EQ(world.store->epoch_metrics(job, 0)->size(), 1u);
  const std::string kinds = world.event_kinds(job);
  EXPECT_THAT(kinds, HasSubstr("CheckpointWritten"));
  EXPECT_EQ(kinds.find("CheckpointWritten"), kinds.rfind("CheckpointWritten"));
}

// The leader tells its last reports again, older ones first.
TEST(FormerReports, OlderOnesDoNotTakeTheNewestsPlace) {
  World world(1);
  const JobId job = world.submit(spec_text("a", 1, 1));
  world.train(job);
  const GroupEpoch epoch = world.record(job).epoch;
  const CheckpointReport first{2, "/c/step-2", "w2", "s2", ""}, second{4, "/c/step-4", "w4", "s4", ""};
  world.say(job, 0, first);
  world.say(job, 0, second);
  world.pass(job, 2);
  world.restart();
  ASSERT_TRUE(world.hello(job, 0, epoch, 5, kComputing));
  const auto revision = world.record(job).revision;
  const std::string kinds = world.event_kinds(job);
  world.say(job, 0, first);
  EXPECT_EQ(world.record(job).checkpoint, "/c/step-4");
  world.say(job, 0, second);
  EXPECT_EQ(world.event_kinds(job), kinds);
  EXPECT_EQ(world.record(job).revision, revision);
}

struct Drained {
  JobId job;
  GroupEpoch before;  // the membership that actor 0 led
};

// Actor 0 has led a job to step 4, and made way for actor 2; actor 1 leads now.
Drained train_and_drain_the_leader(World& world) {
  const JobId job = world.submit(spec_text("a", 1, 2));
  world.train(job);
  const GroupEpoch before = world.record(job).epoch;
  EXPECT_TRUE(world.head().drain(std::to_string(job), 0));
  world.settle();
  world.prepare(job, 2);
  world.transition(job, {1, 2}, {0}, 4);
  return {job, before};
}

// The leader may have pulled that step's state, and knows nothing else of those before.
TEST(FormerReports, OfTheStepsThatAMembershipBeginsWithAreAnyMembers) {
  World world(3);
  const auto [job, before] = train_and_drain_the_leader(world);
  world.say(job, 2, steps(3, 5));
  const auto stored = world.store->steps(job, 0, 100);
  ASSERT_EQ(stored->size(), 2u) << "behind it only the leader's word counts";
  EXPECT_EQ(stored->back().step, 4u);
  world.say_in(job, 0, before, steps(2, 3));  // it led then
  EXPECT_EQ(world.store->steps(job, 0, 100)->size(), 3u);
  world.say_in(job, 1, before, steps(1, 1));  // it did not
  EXPECT_EQ(world.store->steps(job, 0, 100)->size(), 3u);
}

// So that they tell what was not heard, and nothing else.
TEST(FormerReports, MembersAreToldWhatWasHeard) {
  World world(3);
  const JobId job = world.submit(spec_text("a", 1, 3));
  world.train(job);
  world.say(job, 0, steps(1, 3));
  world.say(job, 0, steps(5, 6));  // what comes before them is on its way, or lost
  world.end(job, 0, {true, 9});
  world.settle();
  world.link.sent.clear();
  for (const ActorId actor : {1u, 2u}) world.say(job, actor, Parked{7, {}});
  for (const ActorId actor : {1u, 2u}) {
    const auto assign = world.told<Assign>(job, actor);
    ASSERT_TRUE(assign);
    EXPECT_EQ(assign->told_step, 3u);
  }
  world.say(job, 2, steps(4, 5));
  for (const ActorId actor : {1u, 2u}) world.say(job, actor, Ready{});
  EXPECT_EQ(world.store->steps(job, 0, 100)->size(), 6u);
  // Whoever knew of the seventh has told it.
  world.say(job, 1, steps(8, 9));
  world.end(job, 2, {true, 9});
  world.settle();
  world.link.sent.clear();
  world.say(job, 1, Parked{9, {}});
  const auto assign = world.told<Assign>(job, 1);
  ASSERT_TRUE(assign);
  EXPECT_EQ(assign->told_step, 9u);
}

Progress told(std::uint64_t step, double loss, double seconds) {
  Progress out = steps(step, step);
  out.steps[0].loss = loss;
  out.steps[0].seconds = seconds;
  return out;
}

// Their clocks and bytes are others, or they know none.
TEST(FormerReports, ToldAgainByOthersLeaveTheLeadersAlone) {
  World world(3);
  const auto [job, before] = train_and_drain_the_leader(world);
  world.say(job, 2, told(4, 0.5, 0));  // has pulled it
  EXPECT_EQ(world.store->steps(job, 0, 100)->size(), 1u);
  world.say_in(job, 0, before, told(4, 0.5, 0.1));
  world.say(job, 1, told(4, 0.5, 0.2));  // leads now
  world.say(job, 2, told(4, 0.5, 0.3));
  const auto stored = world.store->steps(job, 0, 100);
  ASSERT_EQ(stored->size(), 1u);
  EXPECT_EQ(stored->front().seconds, 0.1);
}

// Under exchange.reduce: fast they have other numbers.
TEST(FormerReports, OfStepsThatAreMadeAgainAreReplacedForGood) {
  World world(3);
  const JobId job = world.submit(spec_text("a", 1, 3));
  world.train(job);
  const GroupEpoch before = world.record(job).epoch;
  world.say(job, 0, told(3, 0.3, 0.1));
  world.say(job, 0, told(4, 0.4, 0.1));
  world.say(job, 0, told(5, 0.5, 0.1));
  world.end(job, 1, {true, 9});
  world.transition(job, {0, 2}, {}, 3);  // two went on from step 3, whatever the leader had seen
  const auto losses = [&] {
    std::vector<double> out;
    const auto stored = *world.store->steps(job, 0, 100);
    for (const StepMetrics& step : stored) out.push_back(step.loss);
    return out;
  };
  EXPECT_THAT(losses(), ElementsAre(0.3)) << "the job has not made the others yet";
  world.say_in(job, 0, before, told(4, 0.4, 0.1));  // held up on its way
  EXPECT_THAT(losses(), ElementsAre(0.3));
  world.say(job, 0, told(4, 0.41, 0.1));
  world.say_in(job, 0, before, told(4, 0.4, 0.1));
  world.say_in(job, 0, before, told(2, 0.2, 0.1));
  EXPECT_THAT(losses(), ElementsAre(0.2, 0.3, 0.41));
}

// The leader before was held up when it said it; the one after it has written another since.
TEST(FormerReports, OfAnOlderCheckpointThatIsHeardOfLate) {
  World world(3);
  const auto [job, before] = train_and_drain_the_leader(world);
  world.say(job, 1, CheckpointReport{6, "/c/step-6", "w6", "s6", ""});
  world.say_in(job, 0, before, CheckpointReport{4, "/c/step-4", "w4", "s4", ""});
  EXPECT_EQ(world.record(job).checkpoint, "/c/step-6");
  EXPECT_EQ(world.record(job).weights_sha256, "w6");
  EXPECT_EQ(world.record(job).state_sha256, "s6");
  EXPECT_EQ(world.store->checkpoints(job)->size(), 2u);
  world.say(job, 1, CheckpointReport{8, "/c/step-8", "w8", "s8", ""});
  EXPECT_EQ(world.record(job).checkpoint, "/c/step-8");
}

// The daemon dies before it takes them, and the next one finds another leader.
TEST(FormerReports, OfAFormerLeaderThatTheDaemonBeforeDidNotTake) {
  World world(3);
  const auto [job, before] = train_and_drain_the_leader(world);
  const GroupEpoch now = world.record(job).epoch;
  ASSERT_LT(before, now);
  world.pass(job, 1);
  world.restart();
  ASSERT_TRUE(world.hello(job, 0, before, 4, kIdle));
  world.say_in(job, 0, before, steps(1, 4));
  world.say_in(job, 0, before, CheckpointReport{4, "/c/step-4", "w4", "s4", ""});
  EXPECT_EQ(world.store->steps(job, 0, 100)->size(), 4u);
  EXPECT_EQ(world.record(job).checkpoint, "/c/step-4");
  ASSERT_TRUE(world.hello(job, 1, now, 5, kComputing));
  ASSERT_TRUE(world.hello(job, 2, now, 5, kComputing));
  world.say_in(job, 0, before, CheckpointReport{4, "/c/step-4", "w4", "s4", ""});
  EXPECT_EQ(world.store->checkpoints(job)->size(), 1u);
}

// What was refused when the job went back counts no more, also for the next daemon: else every change of the
// membership would take the job back again.
TEST(FormerReports, OfACheckpointThatWasRefusedCountNoMore) {
  World world(2);
  const JobId job = world.submit(spec_text("a", 1, 1));
  world.train(job);
  world.say(job, 0, CheckpointReport{2, "/c/step-2", "w2", "s2", ""});
  world.say(job, 0, CheckpointReport{6, "/c/step-6", "w6", "s6", ""});
  EXPECT_EQ(world.record(job).step, 6u);
  world.end(job, 0, {true, 9});
  world.prepare(job, 1);
  world.transition(job, {1}, {}, 2);
  EXPECT_EQ(world.record(job).step, 2u);
  EXPECT_EQ(world.record(job).checkpoint, "/c/step-2");
  EXPECT_EQ(world.record(job).weights_sha256, "w2");
  EXPECT_EQ(world.record(job).state_sha256, "s2");
  ASSERT_EQ(world.store->checkpoints(job)->size(), 1u);
  Progress progress;
  progress.applied_step = 7;  // and has passed the refused one, which is not written again
  world.say(job, 1, progress);
  world.pass(job, 1);
  const GroupEpoch epoch = world.record(job).epoch;
  world.restart();
  ASSERT_TRUE(world.hello(job, 1, epoch, 7, kComputing));
  ASSERT_TRUE(world.head().scale(std::to_string(job), 2));
  world.settle();
  world.prepare(job, 2);
  world.say(job, 2, Parked{});
  world.link.sent.clear();
  world.say(job, 1, Parked{4});
  EXPECT_TRUE(world.told<Assign>(job, 1)) << "step 6 is to be made again";
}

// Not one of them could be read.
TEST(FormerReports, OfNoCheckpointIfAllWereRefused) {
  World world(2);
  const JobId job = world.submit(spec_text("a", 1, 1));
  world.train(job);
  world.say(job, 0, CheckpointReport{2, "/c/step-2", "w2", "s2", ""});
  world.end(job, 0, {true, 9});
  world.prepare(job, 1);
  world.transition(job, {1}, {}, 0);
  EXPECT_EQ(world.record(job).checkpoint, "");
  EXPECT_EQ(world.record(job).state_sha256, "");
  EXPECT_TRUE(world.store->checkpoints(job)->empty());
  world.say(job, 1, CheckpointReport{2, "/c/step-2", "w2", "s2", ""});
  EXPECT_EQ(world.record(job).checkpoint, "/c/step-2");
  EXPECT_EQ(world.store->checkpoints(job)->size(), 1u);
}

TEST(FormerReports, NotAcrossABeginningAnew) {
  World world(2);
  const JobId job = world.submit(spec_text("a", 1, 1));
  world.train(job);
  const GroupEpoch before = world.record(job).epoch;
  world.end(job, 0, {true, 9});
  world.prepare(job, 1);
  world.transition(job, {1});
  world.say_in(job, 0, before, steps(1, 5));
  EXPECT_EQ(world.record(job).step, 0u);
  EXPECT_EQ(world.store->steps(job, 0, 100)->size(), 0u);
}

TEST(FormerReports, OfStepsThatWereMadeWhileNoDaemonRan) {
  World world(2);
  const JobId job = world.submit(spec_text("a", 2, 2));
  world.train(job);
  const GroupEpoch epoch = world.record(job).epoch;
  world.restart();
  ASSERT_TRUE(world.hello(job, 0, epoch, 4, kComputing));
  // The other one is still to be heard.
  world.say_in(job, 0, epoch, steps(1, 4));
  EXPECT_EQ(world.store->steps(job, 0, 100)->size(), 4u);
  ASSERT_TRUE(world.hello(job, 1, epoch, 4, kComputing));
  EXPECT_THAT(world.event_kinds(job), HasSubstr("Adopted"));
  EXPECT_EQ(world.record(job).state, JobState::kRunning);
}

// Its leader may not have made them, and what the daemon before had heard of them it may not have stored.
TEST(FormerReports, OfTheMembershipOfADaemonBeforeAreAnyMembers) {
  World world(2);
  const JobId job = world.submit(spec_text("a", 2, 2));
  world.train(job);
  const GroupEpoch epoch = world.record(job).epoch;
  world.restart();
  ASSERT_TRUE(world.hello(job, 1, epoch, 4, kComputing));
  world.say_in(job, 1, {epoch.incarnation, epoch.counter + 1}, steps(1, 1));  // which never was
  EXPECT_EQ(world.store->steps(job, 0, 100)->size(), 0u);
  world.say_in(job, 1, epoch, steps(1, 2));
  EXPECT_EQ(world.store->steps(job, 0, 100)->size(), 2u);
  ASSERT_TRUE(world.hello(job, 0, epoch, 4, kComputing));
  EXPECT_THAT(world.event_kinds(job), HasSubstr("Adopted"));
  world.say_in(job, 1, epoch, steps(3, 4));
  EXPECT_EQ(world.store->steps(job, 0, 100)->size(), 4u);
}

TEST(FormerReports, ThatAJobIsDoneBeforeTheOthersAreHeard) {
  World world(2);
  const JobId job = world.submit(spec_text("a", 2, 2));
  world.train(job);
  const GroupEpoch epoch = world.record(job).epoch;
  world.restart();
  ASSERT_TRUE(world.hello(job, 0, epoch, 8, kSaving));
  Finished finished;
  finished.step = 8;
  world.link.sent.clear();
  world.say_in(job, 0, epoch, finished);
  EXPECT_TRUE(world.told<Retire>(job, 0)) << "it waits for the word that it was heard";
  EXPECT_EQ(world.record(job).state, JobState::kSucceeded);
  world.advance(30);
  EXPECT_THAT(world.event_kinds(job), Not(HasSubstr("Adopted")));
}

TEST(Shortfall, IsDescribed) {
  World world(3);
  const JobId job = world.submit(spec_text("a", 1, 4));
  world.train(job);
  EXPECT_EQ(world.record(job).reason, "");
  EXPECT_EQ(world.head().describe(std::to_string(job))->job.reason, "3 of 4 actors: this node has 3 slots");
  for (const ActorId lost : {2u, 3u}) {
    world.end(job, lost, {true, 9});
    world.transition(job, {0, 1});
  }
  EXPECT_THAT(world.head().describe(std::to_string(job))->job.reason,
              HasSubstr("2 of at most 4 actors: actors died soon after their start, the next one starts in"));
  const JobId other = world.submit(spec_text("b", 2, 2));
  ASSERT_NE(other, 0u);
  EXPECT_THAT(world.head().describe(std::to_string(job))->job.reason, HasSubstr("job 2 needs slots"));
}

TEST(Shortfall, OfADaemonThatHasNotHeardAllYet) {
  World world(2);
  const JobId job = world.submit(spec_text("a", 2, 2));
  world.train(job);
  const GroupEpoch epoch = world.record(job).epoch;
  world.restart();
  ASSERT_TRUE(world.hello(job, 0, epoch, 4, kComputing));
  const auto described = world.head().describe(std::to_string(job));
  EXPECT_EQ(described->job.reason, "sengd was started anew and has heard 1 of 2 actors so far");
  EXPECT_EQ(described->actors.front().step, 4u) << "as it said, not as it was stored";
  ASSERT_TRUE(world.hello(job, 1, epoch, 4, kComputing));
  EXPECT_EQ(world.head().describe(std::to_string(job))->job.reason, "");
}

}  // namespace
}  // namespace seng::testing
