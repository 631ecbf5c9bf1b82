#include "daemon/group_epoch.h"

#include <algorithm>
#include <random>

#include <gtest/gtest.h>

namespace seng::group_epoch_test {
namespace {

namespace e = epoch_event;
using Phase = GroupEpochs::Phase;

std::vector<Member> members(std::initializer_list<ActorId> actors) {
  std::vector<Member> out;
  for (const ActorId actor : actors)
    out.push_back({actor, "node", "ipc://a" + std::to_string(actor), 0, 0, ""});
  return out;
}

// Brings a group whose membership was begun to training, from that step.
void train(GroupEpochs& group, std::uint64_t step) {
  group.on(e::Persisted{group.epoch()});
  const auto all = group.members(), leavers = group.leavers();
  for (const auto* list : {&all, &leavers}) {
    for (const Member& m : *list) group.on(e::Parked{m.actor, group.epoch(), step});
  }
  for (const Member& m : all) group.on(e::Ready{m.actor, group.epoch()});
  ASSERT_EQ(group.phase(), Phase::kTraining);
}

template <class Action>
const Action* only(const EpochOutcome& outcome) {
  if (outcome.actions.size() != 1) return nullptr;
  return std::get_if<Action>(&outcome.actions[0]);
}

TEST(CutRanges, CutsAllInOrderNearlyEqually) {
  for (std::uint32_t micro_batches : {1u, 2u, 7u, 8u, 100u}) {
    for (std::uint32_t count = 1; count <= std::min(micro_batches, 9u); ++count) {
      std::vector<Member> cut(count);
      cut_ranges(micro_batches, cut);
      std::uint32_t next = 0, least = micro_batches, most = 0;
      for (const Member& m : cut) {
        EXPECT_EQ(m.first_micro, next);
        next = m.last_micro;
        least = std::min(least, m.last_micro - m.first_micro);
        most = std::max(most, m.last_micro - m.first_micro);
      }
      EXPECT_EQ(next, micro_batches);
      EXPECT_GE(least, 1u);
      EXPECT_LE(most - least, 1u);
    }
  }
  std::vector<Member> two(2);
  EXPECT_THROW(cut_ranges(1, two), InvariantError);
}

// A newcomer that has followed the group holds a state, which counts where nobody else has one.
TEST(GroupEpochs, AFollowersStateCountsWhereItIsTheOnlyOne) {
  const auto trained = [] {
    GroupEpochs group(8, 1);
    group.on(e::Begin{members({0, 1})});
    group.on(e::Persisted{group.epoch()});
    for (const ActorId actor : {0u, 1u}) group.on(e::Parked{actor, group.epoch(), 0});
    for (const ActorId actor : {0u, 1u}) group.on(e::Ready{actor, group.epoch()});
    group.on(e::Followed{2});
    return group;
  };
  GroupEpochs with = trained();
  EXPECT_TRUE(with.follows_state(2));
  EXPECT_FALSE(with.holds_state(2));
  with.on(e::Begin{members({0, 1, 2}), {}, true});
  with.on(e::Persisted{with.epoch()});
  with.on(e::Parked{0, with.epoch(), 7});
  with.on(e::Parked{1, with.epoch(), 7});
  const auto both = with.on(e::Parked{2, with.epoch(), 8});
  ASSERT_TRUE(only<epoch_action::AssignAll>(both));
  EXPECT_EQ(only<epoch_action::AssignAll>(both)->message.base_step, 7u);
  EXPECT_EQ(only<epoch_action::AssignAll>(both)->message.holders, (std::vector<ActorId>{0, 1}));

  GroupEpochs alone = trained();
  alone.on(e::Lost{0});
  alone.on(e::Lost{1});
  const auto begun = alone.on(e::Begin{members({2, 3})});
  ASSERT_TRUE(only<epoch_action::Persist>(begun));
  EXPECT_FALSE(only<epoch_action::Persist>(begun)->membership.restore);
  alone.on(e::Persisted{alone.epoch()});
  alone.on(e::Parked{3, alone.epoch(), 0});
  const auto left = alone.on(e::Parked{2, alone.epoch(), 6, {{4, 5}}});
  ASSERT_TRUE(only<epoch_action::AssignAll>(left));
  EXPECT_EQ(only<epoch_action::AssignAll>(left)->message.base_step, 6u);
  EXPECT_EQ(only<epoch_action::AssignAll>(left)->message.holders, (std::vector<ActorId>{2}));
  EXPECT_EQ(only<epoch_action::AssignAll>(left)->message.curvature.size(), 1u);
  alone.on(e::Ready{2, alone.epoch()});
  const auto resumed = alone.on(e::Ready{3, alone.epoch()});
  ASSERT_TRUE(only<epoch_action::ResumeAll>(resumed));
  EXPECT_TRUE(only<epoch_action::ResumeAll>(resumed)->restored) << "steps behind it are made again";

  // A checkpoint is newer than what it has come to.
  GroupEpochs behind = trained();
  behind.on(e::Lost{0});
  behind.on(e::Lost{1});
  behind.on(e::Begin{members({2, 3}), {}, false, false, {}, 7});
  behind.on(e::Persisted{behind.epoch()});
  behind.on(e::Parked{3, behind.epoch(), 0});
  EXPECT_TRUE(behind.on(e::Parked{2, behind.epoch(), 6}).actions.empty());
  EXPECT_EQ(behind.phase(), GroupEpochs::Phase::kBroken);
  const auto anew = behind.on(e::Begin{members({2, 3}), {}, false, false, {}, 7});
  ASSERT_TRUE(only<epoch_action::Persist>(anew));
  EXPECT_TRUE(only<epoch_action::Persist>(anew)->membership.restore);

  GroupEpochs lost = trained();
  lost.on(e::Lost{2});
  EXPECT_FALSE(lost.follows_state(2));
}

// A member that was silent while the others went on holds what is older than their checkpoint.
TEST(GroupEpochs, NobodysStateCountsBehindTheNewestCheckpoint) {
  for (const std::uint64_t checkpoint : {0u, 3u, 4u}) {
    SCOPED_TRACE(checkpoint);
    GroupEpochs group(8, 1);
    group.on(e::Begin{members({0, 1})});
    group.on(e::Persisted{group.epoch()});
    for (const ActorId actor : {0u, 1u}) group.on(e::Parked{actor, group.epoch(), 0});
    for (const ActorId actor : {0u, 1u}) group.on(e::Ready{actor, group.epoch()});
    // 1 and then 0 are silent; 1 is heard again.
    group.on(e::Begin{members({1}), {}, false, false, {}, checkpoint});
    group.on(e::Persisted{group.epoch()});
    const auto parked = group.on(e::Parked{1, group.epoch(), 3, {{2, 3}}});
    if (checkpoint <= 3) {
      ASSERT_TRUE(only<epoch_action::AssignAll>(parked));
      EXPECT_EQ(only<epoch_action::AssignAll>(parked)->message.base_step, 3u);
      continue;
    }
    EXPECT_TRUE(parked.actions.empty());
    EXPECT_EQ(group.phase(), GroupEpochs::Phase::kBroken);
    EXPECT_FALSE(group.holds_state(1));
    EXPECT_TRUE(group.holds_state(0)) << "it may come back with more";
    EXPECT_FALSE(
        only<epoch_action::Persist>(group.on(e::Begin{members({0, 1}), {}, false, false, {}, checkpoint}))
            ->membership.restore);
    group.on(e::Lost{0});
    EXPECT_TRUE(
        only<epoch_action::Persist>(group.on(e::Begin{members({1}), {}, false, false, {}, checkpoint}))
            ->membership.restore);
  }
}

// Member 1 was left out at step 0, newcomer 2 has followed, and member 0, which trained alone to step 50, is
// lost.
GroupEpochs whose_only_member_is_lost() {
  GroupEpochs group(8, 1);
  group.on(e::Begin{members({0, 1})});
  train(group, 0);
  group.on(e::Begin{members({0})});
  train(group, 50);
  group.on(e::Followed{2});
  group.on(e::Lost{0});
  return group;
}

// A member that was silent for long, and a newcomer that has followed the group further. The member's state
// comes first, which is older than the checkpoint: that takes nothing from the newcomer.
TEST(GroupEpochs, AFollowersStateOutlivesHoldersThatAreBehindTheCheckpoint) {
  GroupEpochs group = whose_only_member_is_lost();
  group.on(e::Begin{members({1, 2}), {}, false, false, {}, 55});
  group.on(e::Persisted{group.epoch()});
  group.on(e::Parked{1, group.epoch(), 50});
  EXPECT_TRUE(group.on(e::Parked{2, group.epoch(), 61}).actions.empty());
  EXPECT_EQ(group.phase(), Phase::kBroken);
  EXPECT_FALSE(group.holds_state(1));
  EXPECT_TRUE(group.follows_state(2));
  const auto begun = group.on(e::Begin{members({2, 1}), {}, false, false, {}, 55});
  ASSERT_TRUE(only<epoch_action::Persist>(begun));
  EXPECT_FALSE(only<epoch_action::Persist>(begun)->membership.restore);
  group.on(e::Persisted{group.epoch()});
  group.on(e::Parked{1, group.epoch(), 50});
  const auto parked = group.on(e::Parked{2, group.epoch(), 61});
  ASSERT_TRUE(only<epoch_action::AssignAll>(parked));
  EXPECT_EQ(only<epoch_action::AssignAll>(parked)->message.base_step, 61u);
  EXPECT_EQ(only<epoch_action::AssignAll>(parked)->message.holders, (std::vector<ActorId>{2}));
}

// One that was left out once and has followed since is a newcomer among others: the furthest of them counts.
TEST(GroupEpochs, WhoWasLeftOutAndHasFollowedIsAsAnyNewcomer) {
  GroupEpochs group(8, 1);
  group.on(e::Begin{members({0, 1})});
  train(group, 0);
  group.on(e::Begin{members({0})});
  train(group, 5);
  EXPECT_TRUE(group.holds_state(1));
  for (const ActorId actor : {1u, 2u}) group.on(e::Followed{actor});
  EXPECT_FALSE(group.holds_state(1));
  EXPECT_TRUE(group.follows_state(1));
  group.on(e::Begin{members({1, 2}), members({0}), true});
  group.on(e::Persisted{group.epoch()});
  group.on(e::Lost{0});
  group.on(e::Begin{members({1, 2})});
  group.on(e::Persisted{group.epoch()});
  group.on(e::Parked{1, group.epoch(), 8});
  const auto parked = group.on(e::Parked{2, group.epoch(), 10});
  ASSERT_TRUE(only<epoch_action::AssignAll>(parked));
  EXPECT_EQ(only<epoch_action::AssignAll>(parked)->message.base_step, 10u);
}

// What the newcomer has turns out to lack a piece; the member that was left out has all of an older step.
TEST(GroupEpochs, AnIncompleteStateOfAFollowerTakesNothingFromThoseWhoAreNotThere) {
  GroupEpochs group = whose_only_member_is_lost();
  group.on(e::Begin{members({2, 3})});
  group.on(e::Persisted{group.epoch()});
  group.on(e::Parked{3, group.epoch(), 0});
  group.on(e::Parked{2, group.epoch(), 61});
  group.on(e::Ready{2, group.epoch()});
  group.on(e::StateLost{3, group.epoch()});
  EXPECT_EQ(group.phase(), Phase::kBroken);
  EXPECT_FALSE(group.holds_state(2) || group.follows_state(2) || group.holds_state(3));
  EXPECT_TRUE(group.holds_state(1));
  const auto begun = group.on(e::Begin{members({1, 2, 3})});
  ASSERT_TRUE(only<epoch_action::Persist>(begun));
  EXPECT_FALSE(only<epoch_action::Persist>(begun)->membership.restore);
}

TEST(CutRanges, InGivenSizes) {
  std::vector<Member> three(3);
  cut_ranges(8, three, {1, 5, 2});
  EXPECT_EQ(three[1].first_micro, 1u);
  EXPECT_EQ(three[1].last_micro, 6u);
  EXPECT_EQ(three[2].last_micro, 8u);
  EXPECT_THROW(cut_ranges(8, three, {1, 5}), InvariantError);
  EXPECT_THROW(cut_ranges(8, three, {1, 5, 1}), InvariantError);
  EXPECT_THROW(cut_ranges(8, three, {0, 6, 2}), InvariantError);
}

TEST(GroupEpochs, StartIsEpochOneOfTheIncarnation) {
  GroupEpochs group(8, 5);
  const auto begun = group.on(e::Begin{members({0, 1, 2})});
  const auto* persist = only<epoch_action::Persist>(begun);
  ASSERT_NE(persist, nullptr);
  EXPECT_EQ(persist->epoch, (GroupEpoch{5, 1}));
  EXPECT_EQ(persist->membership.members[1].first_micro, 3u);
  EXPECT_EQ(persist->membership.members[2].last_micro, 8u);
  EXPECT_TRUE(persist->membership.restore) << "nobody has a state";

  const auto persisted = group.on(e::Persisted{{5, 1}});
  const auto* announce = only<epoch_action::Announce>(persisted);
  ASSERT_NE(announce, nullptr);
  EXPECT_EQ(announce->message.members, persist->membership.members);
  EXPECT_EQ(group.awaited(), (std::vector<ActorId>{0, 1, 2}));

  EXPECT_TRUE(group.on(e::Parked{0, {5, 1}, 0}).actions.empty());
  EXPECT_TRUE(group.on(e::Parked{2, {5, 1}, 0}).actions.empty());
  EXPECT_EQ(group.awaited(), (std::vector<ActorId>{1}));
  const auto parked = group.on(e::Parked{1, {5, 1}, 0});
  const auto* assign = only<epoch_action::AssignAll>(parked);
  ASSERT_NE(assign, nullptr);
  EXPECT_EQ(assign->message.base_step, 0u);
  EXPECT_EQ(assign->message.holders, (std::vector<ActorId>{0})) << "only the leader has restored";

  group.on(e::Ready{1, {5, 1}});
  group.on(e::Ready{0, {5, 1}});
  const auto ready = group.on(e::Ready{2, {5, 1}});
  ASSERT_NE(only<epoch_action::ResumeAll>(ready), nullptr);
  EXPECT_EQ(group.phase(), Phase::kTraining);
}

TEST(GroupEpochs, StartsOverUnderTheNextNumberAndRestores) {
  GroupEpochs group(8, 5);
  group.on(e::Begin{members({0, 1})});
  train(group, 4);
  group.start_over();
  EXPECT_EQ(group.phase(), Phase::kIdle);
  EXPECT_TRUE(group.members().empty());
  EXPECT_FALSE(group.holds_state(0));
  group.on(e::Begin{members({0, 1})});
  EXPECT_TRUE(group.restores()) << "what was held then counts no more";
  EXPECT_EQ(group.epoch().counter, 2u);
}

// Where a step that is made again has other bits: who was left out of the newest membership that trained has
// nothing of the group's, be its step the larger one, or the same.
TEST(GroupEpochs, OnlyTheNewestLineageCounts) {
  const auto parking = [] {
    GroupEpochs group(8, 1);
    group.on(e::Begin{members({0, 1, 2})});
    train(group, 0);
    group.on(e::Begin{members({0, 1, 2})});
    group.on(e::Persisted{group.epoch()});
    return group;
  };
  for (const std::uint64_t left_out : {11u, 12u, 13u}) {
    GroupEpochs group = parking();
    group.on(e::Parked{0, {1, 2}, 12, {{0, 10}}, {1, 8}});
    group.on(e::Parked{2, {1, 2}, left_out, {{0, 10}, {1, 10}, {2, 10}}, {1, 7}});
    const auto outcome = group.on(e::Parked{1, {1, 2}, 11, {{1, 10}}, {1, 8}});
    const auto* assign = only<epoch_action::AssignAll>(outcome);
    ASSERT_NE(assign, nullptr);
    EXPECT_EQ(assign->message.base_step, 12u);
    EXPECT_EQ(assign->message.holders, (std::vector<ActorId>{0}));
    EXPECT_EQ(assign->message.lineage, (GroupEpoch{1, 8}));
    EXPECT_EQ(assign->message.curvature, (std::vector<CurvatureHolders>{{0, 10, {0}}, {1, 10, {1}}}));
  }
  // Where nobody else has any, its state is the best there is.
  GroupEpochs group = parking();
  group.on(e::Lost{0});
  group.on(e::Lost{1});
  group.on(e::Begin{members({2, 3})});
  group.on(e::Persisted{group.epoch()});
  group.on(e::Parked{3, group.epoch(), 0});
  const auto outcome = group.on(e::Parked{2, group.epoch(), 11, {{1, 10}}, {1, 7}});
  const auto* assign = only<epoch_action::AssignAll>(outcome);
  ASSERT_NE(assign, nullptr);
  EXPECT_EQ(assign->message.base_step, 11u);
  EXPECT_EQ(assign->message.lineage, (GroupEpoch{1, 7}));
}

TEST(GroupEpochs, BaseIsTheLargestAppliedStepAndItsHoldersAreNamed) {
  GroupEpochs group(8, 1);
  group.on(e::Begin{members({3, 1, 4})});
  train(group, 0);
  group.on(e::Begin{members({3, 1, 9}), members({4}), true});
  EXPECT_TRUE(group.planned());
  EXPECT_FALSE(group.restores());
  group.on(e::Persisted{{1, 2}});
  // A block twice: its refresh of step 43 is whole, but nobody has applied that.
  group.on(e::Parked{1, {1, 2}, 41, {{0, 40}, {2, 40}}});
  group.on(e::Parked{4, {1, 2}, 42, {{2, 42}, {2, 43}, {0, 40}}});
  group.on(e::Parked{9, {1, 2}, 99, {{0, 42}}});  // a newcomer has nothing, whatever it says
  EXPECT_EQ(group.awaited(), (std::vector<ActorId>{3}));
  const auto outcome = group.on(e::Parked{3, {1, 2}, 42, {{1, 20}}});
  EXPECT_EQ(group.base_step(), 42u);
  const auto* assign = only<epoch_action::AssignAll>(outcome);
  ASSERT_NE(assign, nullptr);
  EXPECT_EQ(assign->message.holders, (std::vector<ActorId>{3, 4})) << "a leaver is a holder";
  EXPECT_EQ(assign->message.curvature,
            (std::vector<CurvatureHolders>{{0, 40, {1, 4}}, {1, 20, {3}}, {2, 40, {1}}, {2, 42, {4}}}));
  // Leavers have not to be ready; they are retired when the members are.
  EXPECT_FALSE(group.on(e::Ready{4, {1, 2}}).ignored.empty());
  group.on(e::Ready{1, {1, 2}});
  group.on(e::Ready{3, {1, 2}});
  const auto ready = group.on(e::Ready{9, {1, 2}});
  ASSERT_EQ(ready.actions.size(), 2u);
  EXPECT_FALSE(std::get<epoch_action::ResumeAll>(ready.actions[0]).restored);
  EXPECT_EQ(std::get<epoch_action::RetireAll>(ready.actions[1]).leavers, (std::vector<ActorId>{4}));
  EXPECT_FALSE(group.on(e::Lost{4}).ignored.empty()) << "a retired one is no loss";
  EXPECT_EQ(group.phase(), Phase::kTraining);
}

TEST(GroupEpochs, ALeaverLostBeforeItRetiredBreaksTheGroup) {
  GroupEpochs group(8, 1);
  group.on(e::Begin{members({0, 1})});
  train(group, 0);
  group.on(e::Begin{members({0}), members({1}), true});
  group.on(e::Persisted{{1, 2}});
  EXPECT_TRUE(group.on(e::Lost{1}).ignored.empty());
  EXPECT_EQ(group.phase(), Phase::kBroken);
}

TEST(GroupEpochs, ALostPieceOfTheStateMakesTheNextMembershipRestore) {
  GroupEpochs group(8, 1);
  group.on(e::Begin{members({0, 1})});
  train(group, 7);
  group.on(e::Begin{members({0, 1})});
  EXPECT_FALSE(group.restores());
  group.on(e::Persisted{{1, 2}});
  EXPECT_FALSE(group.on(e::StateLost{1, {1, 2}}).ignored.empty()) << "too early";
  group.on(e::Parked{0, {1, 2}, 7});
  group.on(e::Parked{1, {1, 2}, 7});
  EXPECT_FALSE(group.on(e::StateLost{1, {1, 1}}).ignored.empty()) << "stale";
  EXPECT_TRUE(group.on(e::StateLost{1, {1, 2}}).ignored.empty());
  EXPECT_EQ(group.phase(), Phase::kBroken);
  group.on(e::Begin{members({1, 0}), {}, true});
  EXPECT_TRUE(group.restores());
  EXPECT_FALSE(group.planned()) << "nobody trains who could say the last step";
  group.on(e::Persisted{{1, 3}});
  group.on(e::Parked{0, {1, 3}, 7});
  const auto outcome = group.on(e::Parked{1, {1, 3}, 5});
  ASSERT_NE(only<epoch_action::AssignAll>(outcome), nullptr);
  EXPECT_EQ(group.base_step(), 5u) << "the leader's checkpoint";
}

TEST(GroupEpochs, WhoseReadyCameTooLateHoldsTheStateAllTheSame) {
  for (const std::uint64_t step : {6, 0}) {
    GroupEpochs group(8, 1);
    group.on(e::Begin{members({0})});
    train(group, 6);
    group.on(e::Begin{members({0, 1})});
    group.on(e::Persisted{{1, 2}});
    group.on(e::Parked{0, {1, 2}, 6});
    group.on(e::Parked{1, {1, 2}, 0});
    group.on(e::Lost{0});
    group.on(e::Begin{members({1})});
    EXPECT_FALSE(group.restores());
    group.on(e::Persisted{{1, 3}});
    const auto outcome = group.on(e::Parked{1, {1, 3}, step});
    if (step > 0) {
      EXPECT_NE(only<epoch_action::AssignAll>(outcome), nullptr) << "it had pulled";
      continue;
    }
    EXPECT_EQ(group.phase(), Phase::kBroken) << "it had not";
    group.on(e::Begin{members({1})});
    EXPECT_TRUE(group.restores());
  }
}

TEST(GroupEpochs, AnAdoptedMembershipGoesOnAndTheNextIsOfThisHead) {
  GroupEpochs group(8, 3);
  group.adopt({2, 9}, {members({0, 1}), {}, false, false}, true, {0, 1}, {});
  EXPECT_EQ(group.phase(), Phase::kTraining);
  EXPECT_EQ(group.epoch(), (GroupEpoch{2, 9}));
  group.on(e::Begin{members({1})});
  EXPECT_EQ(group.epoch(), (GroupEpoch{3, 1}));
  EXPECT_FALSE(group.restores());
}

struct Refused {
  const char* name;
  EpochEvent event;
  const char* why;
  friend void PrintTo(const Refused& one, std::ostream* out) { *out << one.name; }
};

class RefusedWhileParking : public ::testing::TestWithParam<Refused> {};

TEST_P(RefusedWhileParking, ChangesNothingAndSaysWhy) {
  GroupEpochs group(8, 2);
  group.on(e::Begin{members({0, 1})});
  group.on(e::Persisted{{2, 1}});
  group.on(e::Begin{members({0, 1})});
  group.on(e::Persisted{{2, 2}});
  group.on(e::Parked{0, {2, 2}, 7});
  const auto outcome = group.on(GetParam().event);
  EXPECT_TRUE(outcome.actions.empty());
  EXPECT_NE(outcome.ignored.find(GetParam().why), std::string::npos) << outcome.ignored;
  EXPECT_EQ(group.phase(), Phase::kParking);
  EXPECT_EQ(group.awaited(), (std::vector<ActorId>{1}));
}

INSTANTIATE_TEST_SUITE_P(
    Table, RefusedWhileParking,
    ::testing::Values(Refused{"StaleCounter", e::Parked{1, {2, 1}, 9}, "stale"},
                      Refused{"StaleIncarnation", e::Parked{1, {1, 9}, 9}, "stale"},
                      Refused{"NeverAnnounced", e::Parked{1, {2, 3}, 9}, "never announced"},
                      Refused{"NewerIncarnation", e::Parked{1, {3, 1}, 9}, "never announced"},
                      Refused{"Stranger", e::Parked{7, {2, 2}, 9}, "no member"},
                      Refused{"Twice", e::Parked{0, {2, 2}, 9}, "already"},
                      Refused{"ReadyTooEarly", e::Ready{0, {2, 2}}, "Ready while parking"},
                      Refused{"StaleReady", e::Ready{0, {2, 1}}, "stale"},
                      Refused{"PersistedOld", e::Persisted{{2, 1}}, "nothing waits"},
                      Refused{"PersistedTwice", e::Persisted{{2, 2}}, "nothing waits"},
                      Refused{"StrangerLost", e::Lost{9}, "no member"}),
    [](const auto& info) { return info.param.name; });

TEST(GroupEpochs, LostBreaksItInEveryPhaseUntilTheNextBegin) {
  for (int progress = 0; progress < 4; ++progress) {
    GroupEpochs group(8, 1);
    group.on(e::Begin{members({0, 1})});
    if (progress > 0) group.on(e::Persisted{{1, 1}});
    if (progress > 1) {
      group.on(e::Parked{0, {1, 1}, 0});
      group.on(e::Parked{1, {1, 1}, 0});
    }
    if (progress > 2) {
      group.on(e::Ready{0, {1, 1}});
      group.on(e::Ready{1, {1, 1}});
    }
    EXPECT_TRUE(group.on(e::Lost{1}).ignored.empty());
    EXPECT_EQ(group.phase(), Phase::kBroken);
    EXPECT_FALSE(group.on(e::Lost{1}).ignored.empty());
    EXPECT_TRUE(group.on(e::Persisted{{1, 1}}).actions.empty());
    EXPECT_TRUE(group.on(e::Parked{0, {1, 1}, 3}).actions.empty());
    const auto begun = group.on(e::Begin{members({0})});
    ASSERT_NE(only<epoch_action::Persist>(begun), nullptr);
    EXPECT_EQ(group.epoch(), (GroupEpoch{1, 2}));
    EXPECT_EQ(group.member(0)->last_micro, 8u);
  }
}

// Explores random orders of deliveries, losses, duplicates and changes of membership. Actors are modelled:
// they answer what they are sent, at any later time, once or twice; messages of old epochs stay on their way.
class Explorer {
 public:
  explicit Explorer(unsigned seed) : random_(seed), group_(16, 3) {}

  void run(int events) {
    for (ActorId a = 0; a < 4; ++a) applied_[a] = random_() % 3;
    begin();
    for (int i = 0; i < events && !::testing::Test::HasFatalFailure(); ++i) one_event();
    // With no more changes and nothing lost, it must come to training.
    if (group_.phase() == Phase::kBroken) begin();
    for (int i = 0; i < 1000 && group_.phase() != Phase::kTraining; ++i) {
      if (group_.phase() == Phase::kBroken) begin();  // nobody held a state after all
      if (!stored_ && group_.phase() == Phase::kPersisting) take(group_.on(e::Persisted{group_.epoch()}));
      if (pending_.empty()) break;
      deliver(random_() % pending_.size(), true);
    }
    ASSERT_EQ(group_.phase(), Phase::kTraining) << phase_name(group_.phase());
  }

 private:
  struct Pending {
    bool is_ready = false;
    ActorId actor = 0;
    GroupEpoch epoch;
    std::uint64_t applied = 0;
  };

  void begin() {
    std::vector<Member> chosen;
    for (ActorId a = 0; a < 4; ++a) {
      if (random_() % 4 != 0 || chosen.empty()) chosen.push_back({a, "n", "e", 0, 0, ""});
    }
    std::shuffle(chosen.begin(), chosen.end(), random_);
    const GroupEpoch before = group_.epoch();
    stored_ = false;
    take(group_.on(e::Begin{chosen}));
    ASSERT_GT(group_.epoch(), before);
  }

  void one_event() {
    switch (random_() % 8) {
      case 0:
        return begin();
      case 1: {
        const auto actor = static_cast<ActorId>(random_() % 5);
        holders_.erase(actor);
        return take(group_.on(e::Lost{actor}));
      }
      case 2:
      case 3:
        if (random_() % 4 == 0)
          return take(group_.on(e::Persisted{{3, random_() % (group_.epoch().counter + 2)}}));
        return take(group_.on(e::Persisted{group_.epoch()}));
      default:
        if (!pending_.empty()) deliver(random_() % pending_.size(), random_() % 4 != 0);
    }
  }

  void deliver(std::size_t index, bool once) {
    const Pending p = pending_[index];
    if (once) pending_.erase(pending_.begin() + static_cast<std::ptrdiff_t>(index));
    const Phase before = group_.phase();
    const auto outcome = p.is_ready ? group_.on(e::Ready{p.actor, p.epoch})
                                    : group_.on(e::Parked{p.actor, p.epoch, p.applied});
    if (p.epoch != group_.epoch()) {
      ASSERT_TRUE(outcome.actions.empty()) << "a stale message had an effect";
      ASSERT_EQ(group_.phase(), before);
    }
    if (!p.is_ready && outcome.ignored.empty()) parked_[p.actor] = p.applied;
    if (p.is_ready && outcome.ignored.empty()) {
      ready_.insert(p.actor);
      holders_.insert(p.actor);
    }
    take(outcome);
  }

  void take(const EpochOutcome& outcome) {
    for (const EpochAction& action : outcome.actions) {
      if (const auto* persist = std::get_if<epoch_action::Persist>(&action)) {
        ASSERT_TRUE(persisted_.insert(persist->epoch).second) << "an epoch's number was used twice";
        parked_.clear();
        ready_.clear();
        if (persist->membership.restore) holders_.clear();
      } else if (const auto* announce = std::get_if<epoch_action::Announce>(&action)) {
        ASSERT_TRUE(persisted_.contains(group_.epoch())) << "announced before it was stored";
        stored_ = true;
        std::uint32_t next = 0;
        for (const Member& m : announce->message.members) {
          ASSERT_EQ(m.first_micro, next);
          next = m.last_micro;
          pending_.push_back({false, m.actor, group_.epoch(), applied_[m.actor]});
        }
        ASSERT_EQ(next, 16u);
      } else if (const auto* assign = std::get_if<epoch_action::AssignAll>(&action)) {
        ASSERT_EQ(parked_.size(), group_.members().size()) << "assigned before all had parked";
        for (const auto& [actor, step] : parked_) {
          if (group_.restores() && actor != group_.members().front().actor) continue;
          if (!group_.restores() && !holders_.contains(actor)) continue;
          ASSERT_LE(step, assign->message.base_step) << "a committed step would be lost";
          const auto& holders = assign->message.holders;
          ASSERT_EQ(std::find(holders.begin(), holders.end(), actor) != holders.end(),
                    step == assign->message.base_step);
        }
        for (const Member& m : group_.members()) pending_.push_back({true, m.actor, group_.epoch(), 0});
      } else if (std::holds_alternative<epoch_action::ResumeAll>(action)) {
        ASSERT_EQ(ready_.size(), group_.members().size()) << "resumed before all were ready";
        const auto base = std::get<epoch_action::ResumeAll>(action).base_step;
        for (const Member& m : group_.members()) applied_[m.actor] = base + random_() % 3;
      }
    }
  }

  std::mt19937 random_;
  GroupEpochs group_;
  bool stored_ = false;
  std::map<ActorId, std::uint64_t> applied_, parked_;
  std::set<ActorId> ready_, holders_;
  std::set<GroupEpoch> persisted_;
  std::vector<Pending> pending_;
};

TEST(GroupEpochs, KeepsItsInvariantsInRandomOrders) {
  std::random_device device;
  for (int round = 0; round < 3000; ++round) {
    const unsigned seed = device();
    SCOPED_TRACE("seed " + std::to_string(seed));
    Explorer(seed).run(80);
    if (HasFatalFailure()) return;
  }
}

}  // namespace
}  // namespace seng::group_epoch_test
