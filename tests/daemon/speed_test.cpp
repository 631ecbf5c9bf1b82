#include "daemon/speed.h"

#include <algorithm>
#include <functional>
#include <numeric>
#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace seng {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(ShareOut, BySpeed) {
  EXPECT_THAT(share_out(8, {{1, 1}}), ElementsAre(8));
  EXPECT_THAT(share_out(8, {{1, 1}, {1, 1}, {1, 1}}), ElementsAre(3, 3, 2)) << "the odd ones to the first";
  EXPECT_THAT(share_out(8, {{1, 1}, {3, 1}}), ElementsAre(6, 2));
  EXPECT_THAT(share_out(8, {{3, 1}, {1, 1}}), ElementsAre(2, 6));
  EXPECT_THAT(share_out(8, {{1, 1}, {1000, 1}}), ElementsAre(7, 1)) << "everybody has one";
  EXPECT_THAT(share_out(3, {{1, 1}, {5, 1}, {1, 1}}), ElementsAre(1, 1, 1));
  EXPECT_THAT(share_out(9, {{1, 2}, {1, 1}}), ElementsAre(6, 3)) << "two lanes do twice as much";
  EXPECT_THAT(share_out(6, {{1, 4}, {1, 4}}), ElementsAre(3, 3)) << "with lanes to spare the work is even";
}

// The best over all cuts, by trying them.
double best_by_trying(std::uint32_t left, const std::vector<ActorSpeed>& speeds, std::size_t from) {
  if (from + 1 == speeds.size()) return compute_seconds(speeds[from], left);
  double best = 1e300;
  for (std::uint32_t n = 1; n + (speeds.size() - from - 1) <= left; ++n) {
    best = std::min(best,
                    std::max(compute_seconds(speeds[from], n), best_by_trying(left - n, speeds, from + 1)));
  }
  return best;
}

TEST(ShareOut, NoCutIsBetter) {
  std::random_device fresh;
  const unsigned seed = fresh();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  for (int round = 0; round < 300; ++round) {
    std::vector<ActorSpeed> speeds(1 + random() % 4);
    for (ActorSpeed& s : speeds)
      s = {0.001 * static_cast<double>(1 + random() % 40), 1 + static_cast<std::uint32_t>(random() % 3)};
    const auto micro_batches = static_cast<std::uint32_t>(speeds.size() + random() % 14);
    const auto sizes = share_out(micro_batches, speeds);
    ASSERT_EQ(std::accumulate(sizes.begin(), sizes.end(), 0u), micro_batches);
    ASSERT_GE(*std::min_element(sizes.begin(), sizes.end()), 1u);
    ASSERT_DOUBLE_EQ(slowest_seconds(speeds, sizes), best_by_trying(micro_batches, speeds, 0));
  }
}

// Two actors that report three times a lease; the micro-batches of each second, and what they take.
struct Played {
  Speed speed{Timeouts{}, 16};
  double now = 50;
  std::vector<Speed::Share> members = {{0, 1, 8}, {1, 1, 8}};
  std::vector<Progress> reports = std::vector<Progress>(2);

  // Steps as long as the slower one needs, and `else_s` more.
  void pass(int leases, double ms0, double ms1, double else_s = 0) {
    const double ms[2] = {ms0, ms1};
    const double step =
        1e-3 * std::max(members[0].micro_batches * ms0, members[1].micro_batches * ms1) + else_s;
    for (int beat = 0; beat < 3 * leases; ++beat) {
      now += 1.0 / 3;
      const auto steps = static_cast<std::uint64_t>(1.0 / 3 / step);
      for (ActorId i = 0; i < 2; ++i) {
        reports[i].activity = kComputing;
        reports[i].applied_step += steps;
        reports[i].micro_batches += steps * members[i].micro_batches;
        reports[i].compute_seconds += 1e-3 * ms[i] * static_cast<double>(steps * members[i].micro_batches);
        speed.heard(i, reports[i], now);
      }
      speed.look(members, now);
    }
  }
};

TEST(Speed, IsTheMedianOfTheLastLeases) {
  Played p;
  EXPECT_FALSE(p.speed.micro_seconds(0));
  p.pass(3, 2, 4);
  EXPECT_FALSE(p.speed.micro_seconds(0)) << "two windows are no knowledge";
  EXPECT_THAT(p.speed.sizes(p.members), IsEmpty());
  p.pass(3, 2, 4);
  ASSERT_TRUE(p.speed.micro_seconds(1));
  EXPECT_NEAR(*p.speed.micro_seconds(1), 0.004, 1e-9);
  EXPECT_THAT(p.speed.sizes(p.members), ElementsAre(11, 5));
  EXPECT_THAT(p.speed.sizes({{0, 1, 0}, {1, 1, 0}, {7, 1, 0}}), ElementsAre(8, 4, 4))
      << "an average newcomer";
  p.pass(1, 2, 40);
  EXPECT_NEAR(*p.speed.micro_seconds(1), 0.004, 1e-9) << "one long pause";
  p.speed.forget(1);
  EXPECT_FALSE(p.speed.micro_seconds(1));
}

TEST(Speed, UnevenOnlyWhenItLasts) {
  Played p;
  p.pass(5, 2, 4);
  EXPECT_FALSE(p.speed.uneven(p.now));
  p.pass(5, 2, 4);
  EXPECT_TRUE(p.speed.uneven(p.now));
  // Acted upon; it is even now, and another change waits.
  p.members = {{0, 1, 11}, {1, 1, 5}};
  p.speed.rebalanced(p.now);
  p.speed.resumed();
  EXPECT_FALSE(p.speed.uneven(p.now));
  p.pass(15, 4, 2);
  EXPECT_FALSE(p.speed.uneven(p.now)) << "not within 20 leases";
  p.pass(6, 4, 2);
  EXPECT_TRUE(p.speed.uneven(p.now));
  p.speed.resumed();
  EXPECT_FALSE(p.speed.uneven(p.now)) << "of another membership nothing is known yet";
}

TEST(Speed, IsEvenEnough) {
  Played close;
  close.pass(20, 2, 2.2);
  EXPECT_FALSE(close.speed.uneven(close.now)) << "7 and 9 would save less than it costs";
  Played idle;
  idle.pass(20, 2, 4, 0.2);
  EXPECT_FALSE(idle.speed.uneven(idle.now)) << "the micro-batches are a small part of the step";
  Played unknown;
  unknown.members.push_back({2, 1, 1});  // has reported nothing
  unknown.pass(20, 2, 8);
  EXPECT_FALSE(unknown.speed.uneven(unknown.now));
}

TEST(Speed, WhatChangesEveryLeaseIsNotActedUpon) {
  Played p;
  for (int i = 0; i < 20; ++i) p.pass(1, i % 2 == 0 ? 2 : 4, i % 2 == 0 ? 4 : 2);
  EXPECT_FALSE(p.speed.uneven(p.now));
}

}  // namespace
}  // namespace seng
