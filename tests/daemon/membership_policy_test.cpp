#include "daemon/membership_policy.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>

namespace seng {
namespace {

using Phase = GroupEpochs::Phase;
using Loss = MembershipPolicy::Loss;

std::string list(const std::vector<ActorId>& actors) {
  std::string out;
  for (const ActorId a : actors) out += fmt::format("{}{}", out.empty() ? "" : ",", a);
  return out;
}

std::string told(const std::vector<MembershipAction>& actions) {
  namespace a = membership_action;
  std::vector<std::string> words;
  for (const MembershipAction& action : actions) {
    if (const auto* b = std::get_if<a::Begin>(&action)) {
      words.push_back(fmt::format("begin {}{}{}{}", list(b->members), b->leavers.empty() ? "" : "/",
                                  list(b->leavers), b->planned ? " planned" : ""));
    } else if (const auto* w = std::get_if<a::WarmUp>(&action)) {
      words.push_back(
          fmt::format("warm up [{}] from {} for {}", list(w->newcomers), w->source, list(w->future)));
    } else if (const auto* d = std::get_if<a::Dismiss>(&action)) {
      words.push_back(fmt::format("dismiss {}", d->actor));
    } else if (const auto* k = std::get_if<a::Kill>(&action)) {
      words.push_back(fmt::format("kill {}", k->actor));
    } else if (const auto* g = std::get_if<a::GiveUp>(&action)) {
      words.push_back("give up: " + g->reason);
    } else if (std::holds_alternative<a::StopNow>(action)) {
      words.push_back("stop now");
    } else {
      words.emplace_back(std::get<a::Note>(action).kind);
    }
  }
  return fmt::format("{}", fmt::join(words, " "));
}

ActorView starting(ActorId actor) {
  return {actor, false};
}
ActorView cold_newcomer(ActorId actor) {
  return {actor, true};
}
ActorView newcomer(ActorId actor) {
  return {.actor = actor, .prepared = true, .warm = true};
}
ActorView holder(ActorId actor) {
  return {actor, true, true};
}
ActorView drained(ActorId actor) {
  return {actor, true, true, true};
}
ActorView silent(ActorId actor, double since, bool holds = true) {
  return {actor, true, holds, false, false, since};
}

ActorView at_step(ActorView v, std::uint64_t step) {
  v.step = step;
  return v;
}
ActorView follower(ActorId actor, std::uint64_t step) {
  return {.actor = actor, .prepared = true, .follows_state = true, .step = step};
}

struct Case {
  const char* name;
  GroupView view;
  std::string actions;
  friend void PrintTo(const Case& one, std::ostream* out) { *out << one.name; }
};

GroupView view(Phase phase, std::vector<ActorId> members, std::vector<ActorView> actors,
               std::uint32_t min = 1, std::uint32_t max = 8) {
  GroupView out;
  out.phase = phase;
  out.members = std::move(members);
  out.actors = std::move(actors);
  out.trained = phase != Phase::kIdle;
  out.min = min;
  out.max = max;
  return out;
}
GroupView leaving(GroupView v, std::vector<ActorId> leavers) {
  v.leavers = std::move(leavers);
  return v;
}
GroupView stopping(GroupView v) {
  v.stopping = true;
  return v;
}
GroupView limited(GroupView v, std::uint32_t limit) {
  v.limit = limit;
  return v;
}

GroupView uneven(GroupView v) {
  v.uneven = true;
  return v;
}
GroupView again(GroupView v) {
  v.try_again = true;
  return v;
}

GroupView warming(GroupView v, std::vector<ActorId> newcomers) {
  v.warming = std::move(newcomers);
  return v;
}

class Decisions : public ::testing::TestWithParam<Case> {};

TEST_P(Decisions, AreThese) {
  MembershipPolicy policy({Timeouts{}, 20, 3600});
  EXPECT_EQ(told(policy.decide(GetParam().view, 100)), GetParam().actions);
}

const auto T = Phase::kTraining;
const auto I = Phase::kIdle;
INSTANTIATE_TEST_SUITE_P(
    Table, Decisions,
    ::testing::Values(
        Case{"FirstWaitsForAll", view(I, {}, {newcomer(0), starting(1)}), ""},
        Case{"FirstWithAll", view(I, {}, {newcomer(0), newcomer(1)}), "begin 0,1"},
        Case{"FirstWaitsForMin", view(I, {}, {newcomer(0)}, 2), ""},
        Case{"NothingToDo", view(T, {0, 1}, {holder(0), holder(1)}), ""},
        Case{"ALoss", view(T, {0, 1, 2}, {holder(1), holder(2)}, 3), "begin 1,2"},
        Case{"ALossWhileParking", view(Phase::kParking, {0, 1}, {holder(0)}), "begin 0"},
        Case{"ALossAndANewcomer", view(T, {0, 1}, {holder(0), newcomer(2)}), "begin 0"},
        Case{"BrokenButWhole", view(Phase::kBroken, {0, 1}, {holder(0), holder(1)}), "begin 0,1"},
        Case{"ALeaverStays", leaving(view(Phase::kParking, {0, 1}, {holder(0), holder(2)}), {2}),
             "begin 0/2"},
        Case{"ALostLeaver", leaving(view(Phase::kParking, {0}, {holder(0)}), {2}), "begin 0"},
        Case{"OnlyALeaverIsLeft", leaving(view(Phase::kParking, {0}, {holder(2)}), {2}), "begin 2"},
        Case{"AllLostAndNewOnesCome", view(Phase::kBroken, {0}, {newcomer(1), starting(2)}), ""},
        Case{"AllLostAndNewOnesAreHere", view(Phase::kBroken, {0}, {newcomer(1), newcomer(2)}), "begin 1,2"},
        Case{"ASilentOneIsLeftOut", view(T, {0, 1}, {holder(0), silent(1, 99)}), "begin 0"},
        Case{"ASilentOneMayComeBack", view(Phase::kBroken, {0}, {silent(0, 99), newcomer(1)}), ""},
        Case{"AFollowerIsBetterThanNothing", view(T, {0}, {newcomer(1), follower(2, 61)}), "begin 2,1"},
        Case{"ASilentOneThatKnowsLessIsNotWaitedFor",
             view(T, {0}, {at_step(silent(1, 99), 50), follower(2, 61)}), "begin 2"},
        Case{"ASilentOneThatKnowsAsMuchIsNotWaitedFor",
             view(T, {0}, {at_step(silent(1, 99), 61), follower(2, 61)}), "begin 2"},
        Case{"ASilentOneThatKnowsMoreIsWaitedFor",
             view(T, {0}, {at_step(silent(1, 99), 62), follower(2, 61)}), ""},
        Case{"ASilentMemberIsWaitedFor", view(T, {0, 1}, {at_step(silent(1, 99), 50), follower(2, 61)}), ""},
        Case{"AnOvertakenOneComesLater", view(T, {0}, {at_step(holder(1), 50), follower(2, 61), newcomer(3)}),
             "begin 2,3"},
        Case{"AHolderThatKnowsAsMuchComesFirst", view(T, {0}, {at_step(holder(1), 61), follower(2, 61)}),
             "begin 1,2"},
        Case{"AnOvertakenOneIsBetterThanNothing", view(T, {0}, {at_step(holder(1), 50), newcomer(2)}),
             "begin 1,2"},
        Case{"ASilentOneIsKilled", view(T, {0}, {holder(0), silent(1, 90)}), "kill 1"},
        Case{"ASilentOneIsBack", view(T, {0}, {holder(0), holder(1)}), "warm up [1] from 0 for 0,1"},
        Case{"ANewcomerWarmsUp", view(T, {0, 1}, {holder(0), holder(1), cold_newcomer(2)}),
             "warm up [2] from 1 for 0,1,2"},
        Case{"ItIsWaitedFor", warming(view(T, {0, 1}, {holder(0), holder(1), cold_newcomer(2)}), {2}), ""},
        Case{"AnotherOneComesMeanwhile",
             warming(view(T, {0}, {holder(0), cold_newcomer(1), cold_newcomer(2)}), {1}),
             "warm up [1,2] from 0 for 0,1,2"},
        Case{"AllOfThemAreWaitedFor",
             warming(view(T, {0}, {holder(0), newcomer(1), cold_newcomer(2)}), {1, 2}), ""},
        Case{"OneIsGone", warming(view(T, {0}, {holder(0), newcomer(1)}), {1, 2}), "begin 0,1 planned"},
        Case{"AllOfThemAreGone", warming(view(T, {0}, {holder(0)}), {1}), "warm up [] from 0 for 0"},
        Case{"ALossMeanwhile", warming(view(T, {0, 1}, {holder(0), cold_newcomer(2)}), {2}), "begin 0"},
        Case{"ShrinkingDoesNotWait",
             warming(view(T, {0, 1, 2}, {holder(0), holder(1), holder(2), cold_newcomer(3)}, 1, 2), {3}),
             "dismiss 3 warm up [] from 2 for 0,1 begin 0,1/2 planned"},
        Case{"ADrainedOneWaitsForIt",
             warming(view(T, {0, 1}, {drained(0), holder(1), cold_newcomer(2)}, 1, 2), {2}), ""},
        Case{"ADrainedOneIsNoSource", view(T, {0, 1}, {holder(0), drained(1), cold_newcomer(2)}),
             "warm up [2] from 0 for 0,2"},
        Case{"OtherRangesWaitForIt",
             uneven(warming(view(T, {0, 1}, {holder(0), holder(1), cold_newcomer(2)}), {2})), ""},
        Case{"NewcomersTogether", view(T, {0}, {holder(0), newcomer(1), starting(2), newcomer(3)}),
             "begin 0,1,3 planned"},
        Case{"NewcomersWait", view(Phase::kReadying, {0}, {holder(0), newcomer(1)}), ""},
        Case{"NoNewcomersWhileStopping", stopping(view(T, {0}, {holder(0), newcomer(1)})), ""},
        Case{"LossWhileStopping", stopping(view(T, {0, 1}, {holder(1)})), "begin 1"},
        Case{"NobodyLeftToStop", stopping(view(T, {0, 1}, {newcomer(2)})), "stop now"},
        Case{"ShrinksTheHighestNotTheLeader", view(T, {3, 1, 2}, {holder(1), holder(2), holder(3)}, 1, 2),
             "begin 3,1/2 planned"},
        Case{"ShrinksNewcomersFirst", view(T, {0, 1}, {holder(0), holder(1), starting(2), newcomer(3)}, 1, 2),
             "dismiss 3 dismiss 2"},
        Case{"ShrinksForOthers", limited(view(T, {0, 1}, {holder(0), holder(1)}), 1), "begin 0/1 planned"},
        Case{"DrainWaitsForTheReplacement", view(T, {0, 1}, {drained(0), holder(1), starting(2)}, 2, 2), ""},
        Case{"DrainWithTheReplacement", view(T, {0, 1}, {drained(0), holder(1), newcomer(2)}, 2, 2),
             "begin 1,2/0 planned"},
        Case{"DrainFirstWhereNoneCanCome", view(T, {0, 1}, {drained(0), holder(1)}, 1, 2),
             "begin 1/0 planned"},
        Case{"DrainNeverBelowMin", view(T, {0, 1}, {drained(0), holder(1)}, 2, 2), ""},
        Case{"DrainOfTheOnlyOneWaits", view(T, {0}, {drained(0)}), ""},
        Case{"OtherRanges", uneven(view(T, {1, 0}, {holder(0), holder(1)})), "begin 1,0 planned"},
        Case{"OtherRangesWaitForWhoStarts", uneven(view(T, {0, 1}, {holder(0), holder(1), starting(2)})), ""},
        Case{"OtherRangesOnlyWhenItTrains", uneven(view(Phase::kParking, {0, 1}, {holder(0), holder(1)})),
             ""},
        Case{"OtherRangesNotWhileStopping", stopping(uneven(view(T, {0, 1}, {holder(0), holder(1)}))), ""},
        Case{"TheEndAgain", again(view(T, {1, 0}, {holder(0), holder(1)})), "begin 1,0"},
        Case{"TheEndAgainOfAStop", stopping(again(view(T, {0}, {holder(0)}))), "begin 0"},
        Case{"TheEndAgainOnceItTrains", again(view(Phase::kReadying, {0}, {holder(0)})), ""}),
    [](const auto& info) { return info.param.name; });

Loss killed(double lived_s, bool committed = false) {
  return {Loss::Why::kKilled, "it was killed", lived_s, true, committed};
}

TEST(MembershipPolicy, ReplacementsComeAtOnceThenWithPauses) {
  MembershipPolicy policy({Timeouts{}, 20, 3600});
  const GroupView one = view(T, {0}, {holder(0)}, 1, 2);
  const GroupView broken = view(Phase::kBroken, {0, 1}, {holder(0)}, 1, 2);
  EXPECT_EQ(policy.wants(one, 0), 1u) << "growth";
  EXPECT_EQ(policy.wants(broken, 0), 0u) << "no growth meanwhile";
  double now = 0;
  for (const double pause : {0, 2, 4, 8, 16, 32, 60, 60}) {
    policy.lost(killed(1), now);
    EXPECT_EQ(policy.wants(broken, now + pause), 1u) << pause;
    if (pause > 0) {
      EXPECT_EQ(policy.wants(broken, now + pause - 0.1), 0u) << pause;
      EXPECT_EQ(policy.deadline(broken, now), now + pause);
    }
    now += pause;
    EXPECT_EQ(policy.started(1, broken, now), 1u);
  }
  policy.lost(killed(1000), now);
  policy.lost(killed(1), now);
  EXPECT_EQ(policy.wants(broken, now + 60), 1u);
}

TEST(MembershipPolicy, WhoHasCommittedAStepDidNotDieOfItsStart) {
  MembershipPolicy policy({Timeouts{}, 20, 3600});
  const GroupView broken = view(Phase::kBroken, {0, 1}, {holder(0)}, 1, 2);
  for (int i = 0; i < 5; ++i) {
    policy.lost(killed(1, true), i);
    EXPECT_EQ(policy.wants(broken, i), 1u);
    EXPECT_EQ(policy.started(1, broken, i), 1u);
  }
  policy.lost(killed(1), 5);
  EXPECT_EQ(policy.wants(broken, 5), 1u) << "the first in a row";
  policy.started(1, broken, 5);
  policy.lost(killed(1), 5);
  EXPECT_EQ(policy.wants(broken, 5), 0u);
}

TEST(MembershipPolicy, WhenRestartsAreUsedUpTheSurvivorsGoOnOrTheJobFails) {
  MembershipPolicy policy({Timeouts{}, 2, 100});
  const GroupView two = view(T, {0, 1}, {holder(0), holder(1)}, 2, 3);
  for (int i = 0; i < 2; ++i) {
    policy.lost(killed(1000), i);
    EXPECT_EQ(policy.started(1, two, i), 1u);
  }
  policy.lost(killed(1000), 5);
  EXPECT_EQ(policy.wants(two, 5), 0u);
  EXPECT_EQ(told(policy.decide(two, 5)), "RestartsExhausted");
  EXPECT_EQ(told(policy.decide(two, 6)), "") << "said once";
  EXPECT_EQ(policy.deadline(two, 6), 100.0) << "then one is allowed again";
  EXPECT_EQ(policy.wants(two, 100.5), 1u);
  EXPECT_EQ(told(policy.decide(view(Phase::kBroken, {0, 1}, {holder(0)}, 2, 3), 7)),
            "give up: 2 restarts within 100 s are used up; the last loss: it was killed");
}

TEST(MembershipPolicy, GrowthDoesNotTakeThePlaceOfReplacementsThatHaveToWait) {
  MembershipPolicy policy({Timeouts{}, 2, 100});
  const GroupView one = view(T, {0}, {holder(0)}, 1, 4);
  for (int i = 0; i < 2; ++i) {
    policy.lost(killed(1), 0);
    EXPECT_EQ(policy.wants(one, 0), i == 0 ? 3u : 0u) << "the second has to pause";
    EXPECT_EQ(policy.wants(one, 2), 3u);
    policy.started(1, one, 2);
  }
  policy.lost(killed(1000), 5);
  EXPECT_EQ(policy.wants(one, 5), 0u) << "the restarts are used up";
  EXPECT_EQ(policy.wants(one, 103), 3u);
  policy.forgive();
  EXPECT_EQ(policy.wants(one, 5), 3u) << "the user has scaled it";
}

TEST(MembershipPolicy, BeforeTheFirstStepAFailureIsFinal) {
  MembershipPolicy said({Timeouts{}, 20, 3600});
  said.lost({Loss::Why::kSaidSo, "bad data", 1, false}, 0);
  EXPECT_EQ(told(said.decide(view(I, {}, {newcomer(0)}), 0)), "give up: bad data");
  MembershipPolicy exited({Timeouts{}, 20, 3600});
  exited.lost({Loss::Why::kEnded, "exit 5", 1, false}, 0);
  EXPECT_EQ(exited.wants(view(I, {}, {newcomer(0)}, 1, 2), 0), 0u) << "it would exit again";
  EXPECT_EQ(told(exited.decide(view(I, {}, {newcomer(0)}, 1, 2), 0)), "begin 0");
  EXPECT_EQ(told(exited.decide(view(I, {}, {newcomer(0)}, 2, 2), 0)), "give up: exit 5");
  MembershipPolicy killed_early({Timeouts{}, 20, 3600});
  killed_early.lost({Loss::Why::kKilled, "kill -9", 1, false}, 0);
  EXPECT_EQ(told(killed_early.decide(view(I, {}, {newcomer(0)}, 2, 2), 0)), "");
  EXPECT_EQ(killed_early.wants(view(I, {}, {newcomer(0)}, 2, 2), 0), 1u);
}

}  // namespace
}  // namespace seng
