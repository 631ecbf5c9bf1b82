// The head with its jobs, in a world of fakes.
#include "daemon/head.h"

#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "protocol/spec/job_spec.h"
#include "tests/daemon/fake_world.h"

namespace seng::testing::head_test {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

const ExitStatus kExit0{false, 0}, kKilled{true, SIGKILL};

TEST(Head, TellsActorsWhatTheJobBeganWith) {
  World world(2);
  std::string plan = plan_text();
  const JobId seeded = world.submit(spec_text("seeded", 1, 1), plan);
  EXPECT_EQ(world.hello(seeded, 0)->initial_sha256, "");
  plan.insert(1, R"("initial":{"step":0,"weights":"/w.safetensors","sha256":"abc"},)");
  const JobId job = world.submit(spec_text("from-weights", 1, 1), plan);
  EXPECT_EQ(world.hello(job, 0)->initial_sha256, "abc");
}

// Whatever machine an actor runs on, and also after another daemon has come.
TEST(Head, TellsActorsWhatWasDecidedOfTheJob) {
  World world;
  std::string spec = spec_text("a", 1, 1);
  spec.replace(spec.find("optimizer: sgd"), 14,
               "optimizer: {name: seng, curvature: {rank: auto, samples: 64}}");
  std::string plan = plan_text();
  plan.insert(plan.find("\"parameters\""), "\"ranks\":\"3 0 7\",");
  const JobId job = world.submit(spec, plan);
  ASSERT_NE(job, 0u) << world.error.message;
  const auto welcome = world.hello(job, 0);
  ASSERT_TRUE(welcome);
  EXPECT_EQ(parse_job_spec(welcome->spec_yaml, "told")->optimizer.curvature.ranks, "3 0 7");
  world.train(job);
  const GroupEpoch epoch = world.record(job).epoch;
  world.restart();
  const auto again = world.hello(job, 0, epoch);
  ASSERT_TRUE(again);
  EXPECT_EQ(again->spec_yaml, welcome->spec_yaml);
}

// What was begun on the CPU stays there, though nobody wrote down that it was.
TEST(Head, AJobOfAVersionThatKnewOnlyTheCpuIsBoundToIt) {
  World world(2);
  const JobId job = world.submit(spec_text("a", 1, 2));
  world.train(job);
  JobRecord old = world.record(job);
  old.device_kind.clear();
  world.store->put_record(old);
  ASSERT_TRUE(world.store->flush());
  world.options.devices = {{"cuda", "H100", "GPU-a"}, {"cuda", "H100", "GPU-b"}};
  world.restart();
  EXPECT_EQ(world.record(job).device_kind, "cpu");
  const JobId fresh = world.submit(spec_text("b", 1, 1));
  EXPECT_NE(world.record(fresh).device_kind, "cpu");
}

TEST(Head, AJobFromSubmitToSuccess) {
  World world;
  const JobId job = world.submit(spec_text("first", 2, 2));
  ASSERT_EQ(job, 1u) << world.error.message;
  EXPECT_EQ(world.record(job).state, JobState::kStarting);
  ASSERT_EQ(world.processes.running.size(), 2u);
  const auto& spec = world.processes.running.begin()->second.spec;
  EXPECT_EQ(spec.argv.at(1), "run");
  const auto device = std::find(spec.argv.begin(), spec.argv.end(), "--device");
  ASSERT_LT(device + 1, spec.argv.end());
  EXPECT_EQ(device[1], "cpu");
  EXPECT_EQ(spec.log_path, world.dir.path() + "/jobs/1/logs/actor-0.log");

  const auto welcome = world.hello(job, 0);
  ASSERT_TRUE(welcome);
  EXPECT_EQ(welcome->job_dir, world.dir.path() + "/jobs/1");
  EXPECT_EQ(welcome->lease_ms, 1000u);
  world.say_in(job, 0, {}, Prepared{});
  EXPECT_FALSE(world.told<Reconfigure>(job, 0)) << "announced before all members were there";
  const auto second = world.hello(job, 1);
  EXPECT_TRUE(world.store->epochs(job)->empty()) << "the second one has not loaded its data yet";
  world.say_in(job, 1, {}, Prepared{});
  ASSERT_TRUE(second);
  EXPECT_EQ(second->job_token, welcome->job_token);
  const auto epochs = world.store->epochs(job);
  ASSERT_TRUE(epochs);
  ASSERT_EQ(epochs->size(), 1u) << "announced before it was stored";
  const auto reconfigure = world.told<Reconfigure>(job, 1);
  ASSERT_TRUE(reconfigure);
  ASSERT_EQ(reconfigure->members.size(), 2u);
  EXPECT_EQ(reconfigure->members[1].endpoint, "ipc:///nowhere/a1.1");
  EXPECT_EQ(reconfigure->members[1].first_micro, 4u);
  EXPECT_EQ(world.record(job).epoch, (GroupEpoch{1, 1}));

  world.say(job, 0, Parked{0});
  world.say(job, 1, Parked{0});
  ASSERT_TRUE(world.told<Assign>(job, 1));
  world.say(job, 0, Ready{});
  EXPECT_EQ(world.record(job).state, JobState::kStarting);
  world.say(job, 1, Ready{});
  ASSERT_TRUE(world.told<Resume>(job, 1));
  EXPECT_EQ(world.record(job).state, JobState::kRunning);

  Progress progress;
  progress.applied_step = 4;
  for (std::uint64_t s = 1; s <= 4; ++s) {
    StepMetrics metrics;
    metrics.step = s;
    metrics.loss = 2;
    progress.steps.push_back(metrics);
  }
  const std::uint64_t revision = world.record(job).revision;
  world.say(job, 0, progress);
  EXPECT_GT(world.record(job).revision, revision);
  EXPECT_EQ(world.record(job).step, 4u);
  EXPECT_EQ(world.record(job).train_loss, 2);
  world.say(job, 0, CheckpointReport{4, "/c/step-4", "w4", "s4", ""});

  world.say(job, 0, Finished{8, false, "weights", "state"});
  EXPECT_EQ(world.record(job).state, JobState::kSucceeded) << "the leader's word ends it";
  ASSERT_TRUE(world.told<Retire>(job, 1));
  world.say(job, 1, Finished{8, false, "", "", true});
  EXPECT_EQ(world.record(job).weights_sha256, "weights");
  EXPECT_EQ(world.record(job).actors, 2u);
  EXPECT_EQ(world.head().node().slots[0].job, job) << "the slot is its actor's until that is gone";
  world.end(job, 0, kExit0);
  world.end(job, 1, kExit0);
  EXPECT_EQ(world.head().node().slots[0].job, 0u);
  EXPECT_FALSE(world.head().deadline().has_value() && world.store->dirty() == false);
  EXPECT_EQ(world.event_kinds(job),
            "Submitted Starting ActorStarted ActorStarted ActorConnected ActorConnected Reconfigured Running "
            "CheckpointWritten Succeeded ActorExited ActorExited");
  EXPECT_EQ(world.store->steps(job, 0, 100)->size(), 4u);
  EXPECT_EQ(world.store->checkpoints(job)->size(), 1u);
  world.restart();
  EXPECT_EQ(world.record(job).state, JobState::kSucceeded);
  EXPECT_EQ(world.record(job).state_sha256, "state");
}

TEST(Head, AJobFailsByItsLeadersWord) {
  World world;
  const JobId job = world.submit(spec_text("x", 1, 1));
  world.train(job);
  world.say(job, 0, CheckpointReport{4, "/c/step-4", "w4", "s4", ""});
  world.say(job, 0, Finished{6, false, "", "", false, "diverged at step 6"});
  EXPECT_EQ(world.record(job).state, JobState::kFailed);
  EXPECT_EQ(world.record(job).step, 6u);
  EXPECT_EQ(world.record(job).reason, "diverged at step 6");
  EXPECT_EQ(world.record(job).state_sha256, "s4");
  world.end(job, 0, kExit0);
  EXPECT_EQ(world.record(job).restarts, 0u);
}

// Its database, its jobs' files and all.
TEST(Head, FindsCheckpointsInAStateDirectoryThatWasMoved) {
  World world;
  const JobId job = world.submit(spec_text("x", 1, 1));
  world.train(job);
  const std::string dir = job_dir(world.options, job);
  world.say(job, 0, CheckpointReport{8, dir + "/checkpoints/step-8", "w", "s", ""});
  world.say(job, 0, Finished{8, false, "w", "s"});
  world.end(job, 0, kExit0);
  EXPECT_EQ(world.record(job).checkpoint, dir + "/checkpoints/step-8");
  world.options.state_dir = "/elsewhere/jobs/1";
  world.restart();
  EXPECT_EQ(world.record(job).checkpoint, "/elsewhere/jobs/1/jobs/1/checkpoints/step-8");
  EXPECT_EQ(world.head().actors(job)->at(0).log_path, "/elsewhere/jobs/1/jobs/1/logs/actor-0.log");
}

TEST(Head, IdlesWithoutADeadline) {
  World world;
  world.advance(10);
  EXPECT_FALSE(world.head().deadline());
  const JobId job = world.submit(spec_text("x", 1, 1));
  world.train(job);
  world.say(job, 0, Finished{8, false, "w", "s"});
  world.end(job, 0, kExit0);
  world.advance(10);
  EXPECT_FALSE(world.head().deadline());
}

struct Refusal {
  const char* name;
  std::string spec, plan;
  ErrorCode code;
  const char* says;
  friend void PrintTo(const Refusal& one, std::ostream* out) { *out << one.name; }
};
class Refusals : public ::testing::TestWithParam<Refusal> {};

TEST_P(Refusals, NameTheReasonAndStoreNothing) {
  World world(2);
  EXPECT_EQ(world.submit(GetParam().spec, GetParam().plan), 0u);
  EXPECT_EQ(world.error.code, GetParam().code) << world.error.message;
  EXPECT_THAT(world.error.message, HasSubstr(GetParam().says));
  EXPECT_TRUE(world.head().jobs().empty());
  EXPECT_TRUE(world.store->jobs()->empty());
  EXPECT_TRUE(world.processes.running.empty());
}

INSTANTIATE_TEST_SUITE_P(
    Table, Refusals,
    ::testing::Values(
        Refusal{"BadSpec", "model: [", plan_text(), ErrorCode::kInvalidArgument, "job.yaml"},
        Refusal{"EmptySpec", "", plan_text(), ErrorCode::kInvalidArgument, "job.yaml"},
        Refusal{"PlanRefuses", spec_text("a", 1, 1), R"({"ok":false,"errors":["no such network","no data"]})",
                ErrorCode::kInvalidArgument, "no such network\nno data"},
        Refusal{"PlanIsNoJson", spec_text("a", 1, 1), "\"ok\":true surprise", ErrorCode::kInternal,
                "not JSON"},
        Refusal{"PlanIsALiar", spec_text("a", 1, 1), R"({"ok":true,"steps_total":"many"})",
                ErrorCode::kInternal, "steps_total"},
        Refusal{"TooManyActors", spec_text("a", 3, 3), plan_text(), ErrorCode::kInvalidArgument, "2 slots"},
        Refusal{"TooMuchMemory", spec_text("a", 1, 1), plan_text(2ull << 30), ErrorCode::kInvalidArgument,
                "2048 MiB"},
        Refusal{"TooMuchMemoryForItsMin", spec_text("a", 2, 2), plan_text(600ull << 20),
                ErrorCode::kInvalidArgument, "600 MiB"}),
    [](const auto& info) { return info.param.name; });

TEST(Head, AdmissionIsBoundedInTime) {
  World world;
  Error error;
  world.head().submit({spec_text("a", 1, 1), "f"},
                      [&](const Result<JobRecord>& job) { error = job.error(); });
  const pid_t pid = world.processes.find("plan");
  world.advance(59);
  EXPECT_TRUE(world.processes.running[pid].signals.empty());
  world.advance(1.1);
  EXPECT_EQ(world.processes.running[pid].signals, std::vector<int>{SIGKILL});
  world.processes.end(pid, kKilled);
  EXPECT_EQ(error.code, ErrorCode::kTimeout);
}

TEST(Head, AdmissionThatCannotBeStartedSaysSo) {
  World world;
  world.processes.refuse = "cannot start it: no such file";
  EXPECT_EQ(world.submit(spec_text("a", 1, 1)), 0u);
  EXPECT_EQ(world.error.code, ErrorCode::kUnavailable);
  EXPECT_THAT(world.error.message, HasSubstr("no such file"));
}

TEST(Head, AnActorsOwnWordsAreTheReason) {
  World world;
  const JobId job = world.submit(spec_text("a", 1, 1));
  ASSERT_TRUE(world.hello(job, 0));
  world.say_in(job, 0, {}, ActorFailed{ErrorCode::kCorrupt, "the data set is damaged"});
  EXPECT_EQ(world.record(job).state, JobState::kFailed);
  EXPECT_THAT(world.record(job).reason, HasSubstr("actor 0: the data set is damaged"));
  world.end(job, 0, {false, 1});
  EXPECT_EQ(world.head().node().slots[0].job, 0u);
}

// The next actor would read the same bytes.
TEST(Head, WhatFailsInVainEndsAJobThatTrainsAtOnce) {
  World world;
  const JobId job = world.submit(spec_text("a", 2, 2));
  world.train(job);
  world.say(job, 1, ActorFailed{ErrorCode::kCorrupt, "/data/cat.png: a damaged PNG", true});
  EXPECT_EQ(world.record(job).state, JobState::kFailed);
  EXPECT_THAT(world.record(job).reason, HasSubstr("actor 1: /data/cat.png: a damaged PNG"));
  EXPECT_EQ(world.record(job).restarts, 0u);
}

TEST(Head, ALastWordBehindTheExitIsWaitedFor) {
  World world;
  const JobId job = world.submit(spec_text("a", 1, 1));
  world.train(job);
  world.end(job, 0, kExit0);
  EXPECT_EQ(world.record(job).state, JobState::kRunning);
  world.say(job, 0, Finished{8, false, "w", "s"});
  EXPECT_EQ(world.record(job).state, JobState::kSucceeded);

  const JobId silent = world.submit(spec_text("b", 1, 1));
  ASSERT_TRUE(world.hello(silent, 0));
  world.end(silent, 0, kExit0);
  world.advance(0.6);
  EXPECT_EQ(world.record(silent).state, JobState::kFailed);
  EXPECT_THAT(world.record(silent).reason, HasSubstr("exited with code 0 before it finished"));
}

TEST(Head, AnActorThatNeverReportsIsGivenUp) {
  World world;
  const JobId job = world.submit(spec_text("a", 1, 1));
  world.advance(61);
  EXPECT_EQ(world.record(job).state, JobState::kFailed);
  EXPECT_THAT(world.record(job).reason, HasSubstr("did not report within 60 s"));
}

TEST(Head, ActorsThatCannotBeStartedFailTheJobAndFreeTheSlots) {
  World world(1);
  const JobId first = world.submit(spec_text("a", 1, 1));
  const JobId second = world.submit(spec_text("b", 1, 1));
  world.train(first);
  world.say(first, 0, Finished{8, false, "w", "s"});
  world.processes.refuse = "no such program";
  world.end(first, 0, kExit0);
  EXPECT_EQ(world.record(second).state, JobState::kFailed);
  EXPECT_THAT(world.record(second).reason, HasSubstr("no such program"));
  EXPECT_EQ(world.head().node().slots[0].job, 0u);
}

TEST(Head, OnlyTheRightTokenAndVersionAreLetIn) {
  World world;
  const JobId job = world.submit(spec_text("a", 1, 1));
  ActorHello hello;
  hello.version = seng_version();
  hello.token = std::string(32, '0');
  EXPECT_EQ(world.head().hello(job, 0, hello).error().code, ErrorCode::kInvalidArgument);
  hello.token = "";
  EXPECT_FALSE(world.head().hello(job, 0, hello));
  hello.token = world.token_of(job, 0);
  EXPECT_FALSE(world.head().hello(job, 1, hello)) << "no such actor";
  EXPECT_FALSE(world.head().hello(job + 1, 0, hello)) << "no such job";
  hello.version = "9.9.9";
  EXPECT_EQ(world.head().hello(job, 0, hello).error().code, ErrorCode::kUnsupported);
  world.settle();
  EXPECT_EQ(world.record(job).state, JobState::kFailed) << "it can never train";
  EXPECT_THAT(world.record(job).reason, HasSubstr("9.9.9"));
}

TEST(Head, StaleMessagesHaveNoEffect) {
  World world;
  const JobId job = world.submit(spec_text("a", 2, 2));
  world.train(job);
  const JobRecord before = world.record(job);
  world.say_in(job, 0, {0, 9}, Finished{8, false, "w", "s"});
  world.say_in(job, 1, {1, 2}, Finished{8, false, "w", "s"});
  world.say_in(job, 0, {0, 9}, Progress{5, 1, 1, {}, 0, 0});
  world.say_in(job, 1, before.epoch, CheckpointReport{4, "/c", "w", "s", ""});  // not the leader
  world.say_in(job, 0, {0, 9}, Ready{});
  EXPECT_EQ(world.record(job).state, JobState::kRunning);
  EXPECT_EQ(world.record(job).step, before.step);
  EXPECT_EQ(world.record(job).checkpoint, "");
}

TEST(Head, JobsQueueBySlotsAndSayWhy) {
  World world(2);
  const JobId first = world.submit(spec_text("a", 1, 2));
  const JobId second = world.submit(spec_text("b", 2, 2));
  const JobId third = world.submit(spec_text("c", 1, 1));
  EXPECT_EQ(world.processes.running.size(), 2u);
  EXPECT_EQ(world.record(second).state, JobState::kQueued);
  EXPECT_THAT(world.record(second).reason, HasSubstr("waits for 2 slots: 0 of 2 free (job 1 holds 2)"));
  EXPECT_THAT(world.record(third).reason, HasSubstr("behind job 2"));
  world.train(first);
  world.say(first, 0, Finished{8, false, "w", "s"});
  world.end(first, 0, kExit0);
  EXPECT_EQ(world.record(second).state, JobState::kQueued);
  world.end(first, 1, kExit0);
  EXPECT_EQ(world.record(second).state, JobState::kStarting);
  EXPECT_EQ(world.record(second).reason, "");
  EXPECT_EQ(world.record(third).state, JobState::kQueued);
  EXPECT_TRUE(world.head().stop("c"));
  EXPECT_EQ(world.record(third).state, JobState::kStopped);
  EXPECT_EQ(world.record(third).reason, "stopped by the user");
}

TEST(Head, StoppingARunningJob) {
  World world;
  const JobId job = world.submit(spec_text("a", 2, 2));
  world.train(job);
  ASSERT_TRUE(world.head().stop("1"));
  ASSERT_TRUE(world.told<StopTraining>(job, 0));
  ASSERT_TRUE(world.told<StopTraining>(job, 1));
  EXPECT_EQ(world.record(job).state, JobState::kRunning);
  world.say(job, 0, Finished{3, true, "w3", "s3"});
  EXPECT_EQ(world.record(job).state, JobState::kStopped);
  EXPECT_EQ(world.record(job).weights_sha256, "w3");
  EXPECT_TRUE(world.head().stop("1")) << "again is no error";

  const JobId deaf = world.submit(spec_text("b", 1, 1));
  world.train(deaf);
  world.head().stop("b");
  world.pass(deaf, 121);
  EXPECT_EQ(world.record(deaf).state, JobState::kStopped);
  EXPECT_EQ(world.processes.running[world.pid_of(deaf, 0)].signals, std::vector<int>{SIGTERM});
}

TEST(Head, ASilentActorIsReportedOnceAndItsReturnToo) {
  World world;
  const JobId job = world.submit(spec_text("a", 1, 1));
  world.train(job);
  world.advance(0.9);
  world.say(job, 0, Progress{});
  world.advance(0.9);
  EXPECT_THAT(world.event_kinds(job), Not(HasSubstr("ActorSilent")));
  world.advance(5);
  world.say(job, 0, Progress{});
  const std::string kinds = world.event_kinds(job);
  EXPECT_THAT(kinds, HasSubstr("ActorSilent Resuming ActorHeard"));
  EXPECT_EQ(kinds.find("ActorSilent"), kinds.rfind("ActorSilent"));
  EXPECT_EQ(world.record(job).state, JobState::kRunning);
}

TEST(Head, AFullDiskStopsSubmitsButNotWhatRuns) {
  World world;
  const JobId job = world.submit(spec_text("a", 1, 1));
  world.train(job);
  world.advance(2);
  world.store->full = true;
  EXPECT_EQ(world.submit(spec_text("b", 1, 1)), 0u);
  EXPECT_EQ(world.error.code, ErrorCode::kExhausted);
  const int before = world.store->flushes;
  Progress progress;
  progress.applied_step = 1;
  progress.steps.resize(1);
  progress.steps[0].step = 1;
  world.say(job, 0, progress);
  world.pass(job, 60);
  EXPECT_EQ(world.record(job).step, 1u);
  EXPECT_LE(world.store->flushes - before, 20) << "tried too often";
  world.store->full = false;
  world.advance(6);
  EXPECT_FALSE(world.store->dirty());
  EXPECT_EQ(world.store->steps(job, 0, 10)->size(), 1u) << "nothing is lost";
  const auto events = world.store->events(0, 0, 1000);
  std::string kinds;
  for (const auto& e : *events) kinds += e.kind + " ";
  EXPECT_THAT(kinds, HasSubstr("StoreFailed"));
  EXPECT_THAT(kinds, HasSubstr("StoreRecovered"));
}

TEST(Head, AnEpochThatCannotBeStoredIsNotAnnounced) {
  World world;
  const JobId job = world.submit(spec_text("a", 1, 1));
  world.store->full = true;
  world.prepare(job, 0);
  world.link.sent.clear();
  world.pass(job, 12);
  EXPECT_TRUE(world.link.sent.empty());
  EXPECT_EQ(world.record(job).state, JobState::kStarting);
  world.store->full = false;
  world.pass(job, 6);
  EXPECT_TRUE(world.told<Reconfigure>(job, 0));
}

TEST(Head, AQueuedJobThatNoLongerFitsIsFailedWithTheReason) {
  World world(2);
  world.submit(spec_text("a", 2, 2));
  const JobId waits = world.submit(spec_text("b", 2, 2));
  world.advance(2);
  world.options.slots = 1;
  world.restart();
  EXPECT_EQ(world.record(waits).state, JobState::kFailed);
  EXPECT_THAT(world.record(waits).reason, HasSubstr("1 slot"));
}

TEST(Head, ShutsDownWithItsJobsStoppedAndTheQueueKept) {
  World world(1);
  const JobId runs = world.submit(spec_text("a", 1, 1));
  const JobId waits = world.submit(spec_text("b", 1, 1));
  world.train(runs);
  world.head().begin_shutdown("the daemon was stopped");
  ASSERT_TRUE(world.told<StopTraining>(runs, 0));
  EXPECT_FALSE(world.head().shut_down());
  EXPECT_EQ(world.submit(spec_text("c", 1, 1)), 0u);
  EXPECT_EQ(world.error.code, ErrorCode::kUnavailable);
  world.say(runs, 0, CheckpointReport{2, "/c/step-2", "w", "s", ""});
  world.say(runs, 0, Finished{2, true, "w", "s"});
  EXPECT_EQ(world.record(runs).state, JobState::kQueued);
  EXPECT_EQ(world.record(runs).reason,
            "the daemon was stopped; goes on from its checkpoint of step 2 when a daemon starts");
  EXPECT_FALSE(world.head().shut_down());
  world.end(runs, 0, kExit0);
  EXPECT_TRUE(world.head().shut_down());
  EXPECT_EQ(world.record(waits).state, JobState::kQueued) << "no new start while stopping";
  world.restart();
  EXPECT_EQ(world.record(runs).state, JobState::kStarting) << "by age";
  world.prepare(runs, 1);  // numbers are never used again
  const auto group = world.reconfigured(runs, 1);
  ASSERT_TRUE(group);
  EXPECT_TRUE(group->restore);
  world.transition(runs, {1}, {}, 2);
  EXPECT_EQ(world.record(runs).state, JobState::kRunning);
  EXPECT_EQ(world.record(runs).step, 2u);
  ASSERT_EQ(world.head().actors(runs)->size(), 2u) << "the first one's log can still be read";
}

TEST(Head, AHurriedShutdownEndsWhatDoesNotStop) {
  World world;
  const JobId job = world.submit(spec_text("a", 1, 1));
  world.train(job);
  world.head().begin_shutdown("the daemon was stopped");
  world.head().hurry_shutdown();
  EXPECT_EQ(world.record(job).state, JobState::kQueued);
  EXPECT_THAT(world.record(job).reason, HasSubstr("the daemon was stopped; its actors did not finish"));
  EXPECT_EQ(world.processes.running[world.pid_of(job, 0)].signals, std::vector<int>{SIGTERM});
  world.end(job, 0, {true, SIGTERM});
  EXPECT_TRUE(world.head().shut_down());
}

TEST(Head, JobsAreFoundByNumberAndNewestName) {
  World world;
  world.submit(spec_text("same", 1, 1));
  world.submit(spec_text("same", 1, 1));
  EXPECT_EQ(world.head().find("1")->id, 1u);
  EXPECT_EQ(world.head().find("same")->id, 2u);
  EXPECT_EQ(world.head().find("7").error().code, ErrorCode::kNotFound);
  EXPECT_THAT(world.head().find("smae").error().message, HasSubstr("did you mean \"same\""));
  EXPECT_EQ(world.head().find("").error().code, ErrorCode::kInvalidArgument);
  EXPECT_FALSE(world.head().find("18446744073709551616"));
  const auto described = world.head().describe("same");
  ASSERT_TRUE(described);
  EXPECT_THAT(described->spec_yaml, HasSubstr("lenet"));
  EXPECT_THAT(described->plan_json, HasSubstr("memory_per_actor_bytes"));
  EXPECT_EQ(described->actors.size(), 1u);
  EXPECT_FALSE(described->events.empty());
}

TEST(Head, AnOldJobsDirectoryIsNeverUsedAgain) {
  World world;
  std::filesystem::create_directories(world.dir.path() + "/jobs/1");
  EXPECT_EQ(world.submit(spec_text("a", 1, 1)), 2u);
}

}  // namespace
}  // namespace seng::testing::head_test
