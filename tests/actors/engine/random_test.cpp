#include "actors/engine/random.h"

#include <cmath>
#include <set>

#include <gtest/gtest.h>

namespace seng {
namespace {

using Words = std::array<std::uint32_t, 4>;

// The known answers of the Random123 library's kat_vectors for philox4x32-10.
TEST(Philox, KnownAnswers) {
  EXPECT_EQ(philox4x32_10({0, 0, 0, 0}, {0, 0}), (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox4x32_10({~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}),
            (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox4x32_10({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

// Pins the way a stream is made of seed, purpose, a and b: results of jobs rest on it.
TEST(Random, StreamsAreFixedForever) {
  const Random random(0x0123456789abcdefull, RandomPurpose::kDropout, 0x1122334455667788ull, 99);
  const auto key = philox4x32_10({0x55667788, 0x11223344, 99, 3}, {0x89abcdef, 0x01234567});
  EXPECT_EQ(random.at(0x500000007ull), philox4x32_10({7, 5, key[2], key[3]}, {key[0], key[1]}));
}

TEST(Random, SequenceFollowsTheIndex) {
  Random random(1, RandomPurpose::kSynthetic);
  const Random same(1, RandomPurpose::kSynthetic);
  for (int block = 0; block < 3; ++block) {
    for (int word = 0; word < 4; ++word) EXPECT_EQ(random.next_u32(), same.at(block)[word]);
  }
}

TEST(Random, EveryPartOfTheKeyMatters) {
  std::set<Words> first;
  const auto add = [&](const Random& random) { EXPECT_TRUE(first.insert(random.at(0)).second); };
  add(Random(1, RandomPurpose::kDropout, 2, 3));
  add(Random(2, RandomPurpose::kDropout, 2, 3));
  add(Random(1ull << 32, RandomPurpose::kDropout, 2, 3));
  add(Random(1, RandomPurpose::kAugmentation, 2, 3));
  add(Random(1, RandomPurpose::kDropout, 3, 3));
  add(Random(1, RandomPurpose::kDropout, 2ull << 32, 3));
  add(Random(1, RandomPurpose::kDropout, 2, 4));
}

TEST(Random, BelowIsUniformAndInRange) {
  Random random(5, RandomPurpose::kSynthetic);
  std::array<int, 7> counts{};
  for (int i = 0; i < 70000; ++i) ++counts.at(random.below(7));
  for (const int count : counts) EXPECT_NEAR(count, 10000, 5 * std::sqrt(10000.0));
  for (int i = 0; i < 100; ++i) EXPECT_EQ(random.below(1), 0u);
  double mean = 0;
  const std::uint64_t bound = 3ull << 40;
  for (int i = 0; i < 20000; ++i) {
    const auto value = random.below(bound);
    ASSERT_LT(value, bound);
    mean += double(value) / double(bound) / 20000;
  }
  EXPECT_NEAR(mean, 0.5, 0.01);
  EXPECT_LT(random.below(1ull << 32), 1ull << 32);
}

TEST(Random, UniformAndNormalMoments) {
  Random random(6, RandomPurpose::kSynthetic);
  constexpr int kDraws = 200000;
  double mean = 0, squares = 0, normal_mean = 0, normal_squares = 0, fourth = 0;
  for (int i = 0; i < kDraws; ++i) {
    const double u = random.uniform();
    ASSERT_TRUE(u >= 0 && u < 1);
    mean += u / kDraws;
    squares += u * u / kDraws;
    const double z = random.normal();
    normal_mean += z / kDraws;
    normal_squares += z * z / kDraws;
    fourth += z * z * z * z / kDraws;
  }
  EXPECT_NEAR(mean, 0.5, 0.003);
  EXPECT_NEAR(squares, 1.0 / 3, 0.003);
  EXPECT_NEAR(normal_mean, 0, 0.01);
  EXPECT_NEAR(normal_squares, 1, 0.015);
  EXPECT_NEAR(fourth, 3, 0.15);
}

}  // namespace
}  // namespace seng
