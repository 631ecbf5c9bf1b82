// A head that has a job's convolutions measured, in a world of fakes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "protocol/spec/job_spec.h"
#include "tests/daemon/fake_world.h"

namespace seng::testing::head_tuning_test {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

const ExitStatus kKilled{true, SIGKILL};
constexpr const char* kChoices = "H100; forward f32 nhwc 1x1x8x8 4x3x3 s1 p1 = 6";

class HeadTuning : public ::testing::Test {
 protected:
  HeadTuning() {
    world_.options.devices = {
        {"cuda", "H100", "GPU-a"}, {"cuda", "H100", "GPU-b"}, {"cuda", "H100", "GPU-c"}};
    world_.restart();
  }
  JobId submit(int actors, const std::string& choices = "") {
    std::string plan = plan_text();
    plan.insert(1, "\"choices\":\"" + choices + "\",");
    return world_.submit(spec_text("tuned", actors, actors) + "engine: {tune: true}\n", plan);
  }
  bool is_asked(JobId job, ActorId actor) { return world_.told<Tune>(job, actor).has_value(); }
  std::string taken(JobId job, ActorId actor) {
    const auto told = world_.told<TakeChoices>(job, actor);
    return told ? told->choices : "";
  }
  void says(JobId job, ActorId actor, const std::string& choices = kChoices) {
    Tuned tuned;
    tuned.tuning.choices = choices;
    tuned.tuning.device = "H100";
    tuned.tuning.count = 1;
    tuned.tuning.expected_ms = 4;
    tuned.tuning.chosen_ms = 3;
    world_.say_in(job, actor, {}, tuned);
  }
  std::string choices_in(const Result<Welcome>& welcome) {
    EXPECT_TRUE(welcome);
    return welcome ? parse_job_spec(welcome->spec_yaml, "told")->engine_choices : "";
  }

  World world_{3};
};

TEST_F(HeadTuning, OneMeasuresAndAllTakeWhatIsStored) {
  const JobId job = submit(2);
  ASSERT_NE(job, 0u) << world_.error.message;
  const auto first = world_.hello(job, 0), second = world_.hello(job, 1);
  ASSERT_TRUE(first && second);
  EXPECT_TRUE(first->awaits_choices && second->awaits_choices);
  EXPECT_EQ(choices_in(first), "");
  EXPECT_TRUE(is_asked(job, 0));
  EXPECT_FALSE(is_asked(job, 1));
  says(job, 1);
  EXPECT_EQ(world_.store->job(job)->tuning.choices, "") << "nobody asked it";
  says(job, 0);
  const TuningRecord stored = world_.store->job(job)->tuning;
  EXPECT_EQ(stored.choices, kChoices);
  EXPECT_EQ(stored.actor, 0u);
  EXPECT_GT(stored.at, 0);
  EXPECT_EQ(taken(job, 0), kChoices);
  EXPECT_EQ(taken(job, 1), kChoices);
  EXPECT_THAT(world_.event_kinds(job), HasSubstr("Tuning ActorConnected Tuned"));
  for (const ActorId actor : {0u, 1u}) world_.say_in(job, actor, {}, Prepared{});
  world_.transition(job, {0, 1});
  EXPECT_EQ(world_.record(job).state, JobState::kRunning);
  EXPECT_EQ(world_.head().describe("1")->tuning.choices, kChoices);

  // Who comes later finds them in its specification.
  ASSERT_TRUE(world_.head().scale("1", 3));
  world_.settle();
  const auto newcomer = world_.hello(job, 2);
  ASSERT_TRUE(newcomer);
  EXPECT_FALSE(newcomer->awaits_choices);
  EXPECT_EQ(choices_in(newcomer), kChoices);
  EXPECT_FALSE(is_asked(job, 2));
}

TEST_F(HeadTuning, AnotherMeasuresWhenTheFirstIsKilledBeforeItsWord) {
  const JobId job = submit(2);
  ASSERT_TRUE(world_.hello(job, 0) && world_.hello(job, 1));
  ASSERT_TRUE(is_asked(job, 0));
  world_.end(job, 0, kKilled);
  EXPECT_TRUE(is_asked(job, 1));
  const auto replacement = world_.hello(job, 2);
  ASSERT_TRUE(replacement);
  EXPECT_TRUE(replacement->awaits_choices);
  EXPECT_FALSE(is_asked(job, 2));
  says(job, 1);
  EXPECT_EQ(taken(job, 2), kChoices);
  EXPECT_EQ(taken(job, 1), kChoices);
}

TEST_F(HeadTuning, NobodyMeasuresAgainWhenItIsKilledBehindIt) {
  const JobId job = submit(2);
  ASSERT_TRUE(world_.hello(job, 0) && world_.hello(job, 1));
  ASSERT_TRUE(is_asked(job, 0));
  says(job, 0);
  world_.end(job, 0, kKilled);
  EXPECT_EQ(taken(job, 1), kChoices);
  EXPECT_FALSE(is_asked(job, 1));
  const auto replacement = world_.hello(job, 2);
  ASSERT_TRUE(replacement);
  EXPECT_FALSE(replacement->awaits_choices);
  EXPECT_EQ(choices_in(replacement), kChoices);
}

// One that is silent for a while may have measured all the same: never do two tables count.
TEST_F(HeadTuning, OnlyTheFirstTableCounts) {
  const JobId job = submit(2);
  ASSERT_TRUE(world_.hello(job, 0) && world_.hello(job, 1));
  ASSERT_TRUE(is_asked(job, 0));
  world_.pass(job, 3, {0});
  EXPECT_TRUE(is_asked(job, 1));
  says(job, 1);
  EXPECT_EQ(taken(job, 1), kChoices);
  says(job, 0, "H100; forward f32 nhwc 1x1x8x8 4x3x3 s1 p1 = 1");
  EXPECT_EQ(world_.store->job(job)->tuning.choices, kChoices);
  EXPECT_EQ(taken(job, 0), kChoices) << "it waits as all do";
  EXPECT_EQ(taken(job, 1), "");
}

TEST_F(HeadTuning, NobodyTakesWhatCannotBeStored) {
  const JobId job = submit(1);
  ASSERT_TRUE(world_.hello(job, 0));
  ASSERT_TRUE(is_asked(job, 0));
  world_.store->full = true;
  says(job, 0);
  EXPECT_EQ(taken(job, 0), "");
  EXPECT_THAT(world_.event_kinds(job), HasSubstr("StoreFailed"));
  world_.store->full = false;
  world_.pass(job, 10);
  EXPECT_EQ(taken(job, 0), kChoices);
  EXPECT_FALSE(is_asked(job, 0));
}

// The time for its preparation is that of the one who measures; the others begin theirs with the choices.
TEST_F(HeadTuning, OneThatMeasuresTooLongIsGivenUpAndTheOthersGoOn) {
  const double longest = world_.options.timeouts.prepare_s();
  const JobId job = world_.submit(spec_text("tuned", 1, 2) + "engine: {tune: true}\n", plan_text());
  ASSERT_TRUE(world_.hello(job, 0) && world_.hello(job, 1));
  ASSERT_TRUE(is_asked(job, 0));
  world_.pass(job, longest + 1);
  EXPECT_TRUE(is_asked(job, 1));
  world_.pass(job, 0.9 * longest);
  EXPECT_EQ(world_.record(job).state, JobState::kStarting);
  says(job, 1);
  EXPECT_EQ(taken(job, 1), kChoices);
  world_.pass(job, 0.9 * longest);
  world_.say_in(job, 1, {}, Prepared{});
  world_.transition(job, {1});
  EXPECT_EQ(world_.record(job).state, JobState::kRunning);
}

TEST_F(HeadTuning, NobodyIsGivenUpWhileTheChoicesCannotBeStored) {
  const JobId job = submit(2);
  ASSERT_TRUE(world_.hello(job, 0) && world_.hello(job, 1));
  ASSERT_TRUE(is_asked(job, 0));
  world_.store->full = true;
  says(job, 0);
  world_.pass(job, 1.5 * world_.options.timeouts.prepare_s());
  world_.store->full = false;
  world_.pass(job, 10);
  EXPECT_EQ(taken(job, 0), kChoices);
  EXPECT_EQ(taken(job, 1), kChoices);
  EXPECT_EQ(world_.record(job).state, JobState::kStarting);
}

TEST_F(HeadTuning, ADaemonThatIsStartedAnewKnowsThem) {
  const JobId job = submit(1);
  ASSERT_TRUE(world_.hello(job, 0));
  says(job, 0);
  // It had no membership yet: it is queued again, with new actors.
  world_.restart();
  const auto welcome = world_.hello(job, 1);
  EXPECT_FALSE(welcome->awaits_choices);
  EXPECT_EQ(choices_in(welcome), kChoices);
  EXPECT_FALSE(is_asked(job, 1));
}

TEST_F(HeadTuning, ChoicesThatCameAlongAreNotMeasured) {
  const JobId job = submit(1, kChoices);
  const auto welcome = world_.hello(job, 0);
  EXPECT_FALSE(welcome->awaits_choices);
  EXPECT_EQ(choices_in(welcome), kChoices);
  EXPECT_FALSE(is_asked(job, 0));
  const TuningRecord tuning = world_.head().describe("1")->tuning;
  EXPECT_EQ(tuning.choices, kChoices);
  EXPECT_EQ(tuning.actor, kNoActor);
}

TEST_F(HeadTuning, OnTheCpuNothingIsMeasured) {
  World world(1);
  const JobId job = world.submit(spec_text("tuned", 1, 1) + "engine: {tune: true}\n");
  const auto welcome = world.hello(job, 0);
  ASSERT_TRUE(welcome);
  EXPECT_FALSE(welcome->awaits_choices);
  EXPECT_FALSE(world.told<Tune>(job, 0));
  const auto events = world.store->events(job, 0, 100);
  EXPECT_TRUE(std::ranges::any_of(*events, [](const EventRecord& event) {
    return event.kind == "Tuned" && event.text == "engine.tune has no effect on the CPU, where the job is";
  }));
  EXPECT_THAT(world.event_kinds(job), Not(HasSubstr("Tuning")));
}

}  // namespace
}  // namespace seng::testing::head_tuning_test
