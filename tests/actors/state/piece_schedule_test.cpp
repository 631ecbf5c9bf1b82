// The schedule on its own: small cases by hand, then holders that lose, repeat, reorder, stall and die at
// random.
#include "actors/state/piece_schedule.h"

#include <algorithm>
#include <random>
#include <set>
#include <tuple>

#include <gtest/gtest.h>

namespace seng {
namespace {

using Plan = PieceSchedule::BlobPlan;

std::vector<PieceAsk> asked(PieceSchedule& schedule, double now) {
  std::vector<PieceAsk> asks;
  while (const auto ask = schedule.next(now)) asks.push_back(*ask);
  return asks;
}

std::size_t count_of(const std::vector<PieceAsk>& asks, std::size_t holder) {
  return static_cast<std::size_t>(
      std::count_if(asks.begin(), asks.end(), [&](const PieceAsk& ask) { return ask.holder == holder; }));
}

TEST(PieceSchedule, SharesPiecesWithinTheWindows) {
  PieceSchedule schedule({Plan{std::vector<bool>(10), {0, 1}}}, 2, 3, 1);
  const auto asks = asked(schedule, 0);
  EXPECT_EQ(count_of(asks, 0), 3u);
  EXPECT_EQ(count_of(asks, 1), 3u);
  EXPECT_TRUE(schedule.taken(asks[0], 0.1));
  const auto more = asked(schedule, 0.1);
  ASSERT_EQ(more.size(), 1u);
  EXPECT_EQ(more[0].holder, asks[0].holder);
}

TEST(PieceSchedule, TheOnlyHolderOfABlobServesItFirst) {
  PieceSchedule schedule({Plan{std::vector<bool>(4), {0, 1}}, Plan{std::vector<bool>(4), {1}}}, 2, 4, 1);
  for (const PieceAsk& ask : asked(schedule, 0)) EXPECT_EQ(ask.blob, ask.holder);
}

TEST(PieceSchedule, EveryHolderThatServedStatesTheDigest) {
  PieceSchedule schedule({Plan{std::vector<bool>(2), {0, 1, 2}}}, 3, 1, 1);
  std::set<std::size_t> served;
  for (const PieceAsk& ask : asked(schedule, 0)) {
    served.insert(ask.holder);
    EXPECT_TRUE(schedule.taken(ask, 0));
  }
  EXPECT_EQ(served.size(), 2u);
  const auto digests = asked(schedule, 0);
  ASSERT_EQ(digests.size(), 2u);
  for (const PieceAsk& ask : digests) {
    EXPECT_EQ(ask.piece, kDigestPiece);
    EXPECT_TRUE(served.contains(ask.holder));
    EXPECT_FALSE(schedule.complete());
    EXPECT_TRUE(schedule.taken(ask, 0));
  }
  EXPECT_TRUE(schedule.complete());
}

TEST(PieceSchedule, ABlobThatIsEmptyOrHereNeedsOneDigest) {
  PieceSchedule schedule({Plan{{}, {0, 1}}, Plan{{true, true}, {1}}}, 2, 4, 1);
  const auto asks = asked(schedule, 0);
  ASSERT_EQ(asks.size(), 2u);
  for (const PieceAsk& ask : asks) {
    EXPECT_EQ(ask.piece, kDigestPiece);
    EXPECT_TRUE(schedule.taken(ask, 0));
  }
  EXPECT_TRUE(schedule.complete());
}

TEST(PieceSchedule, AStalledHoldersPiecesGoToTheOthers) {
  PieceSchedule schedule({Plan{std::vector<bool>(4), {0, 1}}}, 2, 2, 1);
  const auto asks = asked(schedule, 0);
  std::set<std::size_t> of_stalled;
  for (const PieceAsk& ask : asks) {
    if (ask.holder == 0) of_stalled.insert(ask.piece);
    if (ask.holder == 1) {
      EXPECT_TRUE(schedule.taken(ask, 0.5));
    }
  }
  ASSERT_TRUE(schedule.deadline());
  EXPECT_DOUBLE_EQ(*schedule.deadline(), 1);
  EXPECT_TRUE(schedule.expire(0.9).empty());
  EXPECT_EQ(schedule.expire(1), std::vector<std::size_t>{0});
  EXPECT_FALSE(schedule.stuck());
  const auto again = asked(schedule, 1);
  ASSERT_EQ(again.size(), 2u);
  for (const PieceAsk& ask : again) {
    EXPECT_EQ(ask.holder, 1u);
    EXPECT_TRUE(of_stalled.erase(ask.piece));
  }
  // A late answer counts, and what was asked in its place is then of no use.
  const PieceAsk late{0, 0, again[0].piece};
  EXPECT_TRUE(schedule.wanted(late));
  EXPECT_TRUE(schedule.taken(late, 1.5));
  EXPECT_FALSE(schedule.wanted(again[0]));
  EXPECT_FALSE(schedule.taken(again[0], 1.6));
  EXPECT_TRUE(schedule.taken(again[1], 1.6));
  EXPECT_TRUE(schedule.pieces_complete(0));
}

TEST(PieceSchedule, AHolderThatSpeaksAgainIsAskedAgainButNotForWhatItOwes) {
  PieceSchedule schedule({Plan{std::vector<bool>(4), {0}}, Plan{std::vector<bool>(1), {0, 1}}}, 2, 3, 1);
  std::vector<PieceAsk> of_first;
  for (const PieceAsk& ask : asked(schedule, 0)) {
    if (ask.holder == 0) of_first.push_back(ask);
    if (ask.holder == 1) {
      EXPECT_TRUE(schedule.taken(ask, 0));
    }
  }
  ASSERT_EQ(of_first.size(), 3u);
  EXPECT_EQ(schedule.expire(1), std::vector<std::size_t>{0});
  EXPECT_EQ(schedule.stuck(), std::size_t{0});
  EXPECT_EQ(count_of(asked(schedule, 1), 0), 0u);
  EXPECT_TRUE(schedule.taken(of_first[0], 1.1));
  EXPECT_FALSE(schedule.stuck());
  std::vector<PieceAsk> again;
  for (const PieceAsk& ask : asked(schedule, 1.1)) {
    if (ask.holder == 0) again.push_back(ask);
  }
  ASSERT_EQ(again.size(), 1u);  // two are owed, so the window has room for one
  for (const PieceAsk& ask : of_first) EXPECT_NE(again[0].piece, ask.piece);
}

TEST(PieceSchedule, IsStuckWhenNobodyIsLeft) {
  PieceSchedule schedule({Plan{std::vector<bool>(1), {0}}, Plan{std::vector<bool>(1), {0, 1, 2}}}, 3, 2, 1);
  asked(schedule, 0);
  EXPECT_FALSE(schedule.stuck());
  schedule.lost(1);
  EXPECT_FALSE(schedule.stuck());
  schedule.refused({0, 0, 0}, 0);
  EXPECT_EQ(schedule.stuck(), std::size_t{0});
}

TEST(PieceSchedule, IgnoresWhatWasNotAsked) {
  PieceSchedule schedule({Plan{std::vector<bool>(3), {0, 1}}}, 2, 1, 1);
  const auto asks = asked(schedule, 0);
  const PieceAsk other{asks[0].holder, 0, asks[1].piece};
  EXPECT_FALSE(schedule.wanted(other));
  EXPECT_FALSE(schedule.taken(other, 0));
  schedule.refused(other, 0);
  EXPECT_FALSE(schedule.taken({asks[0].holder, 0, kDigestPiece}, 0));
  EXPECT_TRUE(schedule.taken(asks[0], 0));
  EXPECT_FALSE(schedule.taken(asks[0], 0));
}

// Holders behind a network that reorders and repeats; some are slow, hang, refuse or die. One stays well.
class RandomWorld {
 public:
  explicit RandomWorld(std::uint64_t seed) : random_(seed) {
    holders_ = 1 + below(5);
    const std::size_t blobs = 1 + below(5);
    const std::size_t well = below(holders_);
    for (std::size_t i = 0; i < blobs; ++i) {
      Plan plan{std::vector<bool>(below(20)), {well}};
      for (auto&& have : plan.have) have = below(4) == 0;
      for (std::size_t h = 0; h < holders_; ++h) {
        if (below(2) == 0) plan.holders.push_back(h);
      }
      plans_.push_back(plan);
    }
    for (std::size_t h = 0; h < holders_; ++h) {
      faulty_.push_back(h != well && below(2) == 0);
      pace_.push_back(0.01 + 0.4 * static_cast<double>(below(100)) / 100);
    }
  }

  void run() {
    const std::size_t window = 1 + below(6);
    PieceSchedule schedule(plans_, holders_, window, kStall);
    for (int round = 0; !schedule.complete(); ++round) {
      ASSERT_LT(round, 100000);
      ASSERT_FALSE(schedule.stuck());
      now_ += 0.02;
      for (const PieceAsk& ask : asked(schedule, now_)) note(ask, window);
      deliver(schedule);
      for (const std::size_t holder : schedule.expire(now_)) {
        ASSERT_TRUE(faulty_[holder]);
        stalled_.insert(holder);
        for (auto& [key, at] : outstanding_) {
          if (std::get<0>(key) == holder) abandoned_.insert(key);
        }
      }
    }
    for (std::size_t i = 0; i < plans_.size(); ++i) {
      for (std::size_t piece = 0; piece < plans_[i].have.size(); ++piece) {
        EXPECT_EQ(received_.count({i, piece}), plans_[i].have[piece] ? 0u : 1u);
      }
      EXPECT_TRUE(stated_.contains(i));
    }
  }

 private:
  using Key = std::tuple<std::size_t, std::size_t, std::size_t>;
  static constexpr double kStall = 3;  // above the slowest well holder's full window

  std::size_t below(std::size_t bound) { return random_() % bound; }

  void note(const PieceAsk& ask, std::size_t window) {
    const Plan& plan = plans_[ask.blob];
    ASSERT_NE(std::find(plan.holders.begin(), plan.holders.end(), ask.holder), plan.holders.end());
    ASSERT_FALSE(stalled_.contains(ask.holder));
    if (ask.piece != kDigestPiece) {
      ASSERT_LT(ask.piece, plan.have.size());
      ASSERT_FALSE(plan.have[ask.piece]);
      // Nothing that is here is fetched again, and nothing is asked of two unless the first gave it up.
      ASSERT_FALSE(received_.contains({ask.blob, ask.piece}));
      for (const auto& [key, at] : outstanding_) {
        if (std::get<1>(key) != ask.blob || std::get<2>(key) != ask.piece) continue;
        ASSERT_TRUE(abandoned_.contains(key));
      }
    }
    const Key key{ask.holder, ask.blob, ask.piece};
    ASSERT_TRUE(outstanding_.emplace(key, now_ + pace_[ask.holder]).second);
    std::size_t in_flight = 0;
    for (const auto& [other, at] : outstanding_) in_flight += std::get<0>(other) == ask.holder;
    ASSERT_LE(in_flight, window);
  }

  void deliver(PieceSchedule& schedule) {
    std::vector<Key> due;
    for (const auto& [key, at] : outstanding_) {
      if (at <= now_) due.push_back(key);
    }
    std::shuffle(due.begin(), due.end(), random_);
    for (const Key& key : due) {
      const PieceAsk ask{std::get<0>(key), std::get<1>(key), std::get<2>(key)};
      if (faulty_[ask.holder] && misbehave(schedule, ask)) continue;
      answer(schedule, ask);
      if (below(5) == 0) {
        EXPECT_FALSE(schedule.taken(ask, now_));  // repeated
      }
    }
  }

  void answer(PieceSchedule& schedule, const PieceAsk& ask) {
    const bool wanted = schedule.wanted(ask);
    EXPECT_EQ(schedule.taken(ask, now_), wanted);
    forget({ask.holder, ask.blob, ask.piece});
    stalled_.erase(ask.holder);
    if (!wanted) return;
    if (ask.piece == kDigestPiece) {
      stated_.insert(ask.blob);
    } else {
      EXPECT_TRUE(received_.insert({ask.blob, ask.piece}).second);
    }
  }

  // True: the ask has no answer, or was refused.
  bool misbehave(PieceSchedule& schedule, const PieceAsk& ask) {
    const Key key{ask.holder, ask.blob, ask.piece};
    switch (below(12)) {
      case 0:
        schedule.refused(ask, now_);
        forget(key);
        stalled_.erase(ask.holder);
        for (auto& [other, at] : outstanding_) {
          if (std::get<0>(other) == ask.holder && std::get<1>(other) == ask.blob) abandoned_.insert(other);
        }
        return true;
      case 1:  // dies
        schedule.lost(ask.holder);
        std::erase_if(outstanding_,
                      [&](const auto& entry) { return std::get<0>(entry.first) == ask.holder; });
        stalled_.insert(ask.holder);
        return true;
      case 2:
      case 3:  // hangs for long
        for (auto& [other, at] : outstanding_) {
          if (std::get<0>(other) == ask.holder)
            at = now_ + 2 * kStall + 0.01 * static_cast<double>(below(100));
        }
        return true;
      default:
        return !outstanding_.contains(key);  // it died, or hangs, since this round's list was made
    }
  }

  void forget(const Key& key) {
    outstanding_.erase(key);
    abandoned_.erase(key);
  }

  std::mt19937_64 random_;
  std::size_t holders_ = 0;
  std::vector<Plan> plans_;
  std::vector<bool> faulty_;
  std::vector<double> pace_;
  double now_ = 0;
  std::map<Key, double> outstanding_;  // -> when the answer arrives
  std::set<Key> abandoned_;
  std::set<std::size_t> stalled_;  // or dead: nothing may be asked of them
  std::set<std::pair<std::size_t, std::size_t>> received_;
  std::set<std::size_t> stated_;
};

TEST(PieceSchedule, FetchesEverythingOnceWhateverHoldersDo) {
  const std::uint64_t seed = std::random_device{}();
  for (std::uint64_t i = 0; i < 2000 && !::testing::Test::HasFailure(); ++i) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed + i);
    RandomWorld(seed + i).run();
  }
}

}  // namespace
}  // namespace seng
