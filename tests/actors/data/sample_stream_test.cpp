#include "actors/data/sample_stream.h"

#include <numeric>
#include <random>
#include <set>

#include "protocol/base/error.h"

namespace seng {
namespace {

using ::testing::ElementsAre;

std::vector<std::uint32_t> sorted(std::vector<std::uint32_t> values) {
  std::sort(values.begin(), values.end());
  return values;
}

std::vector<std::uint32_t> first_numbers(std::uint32_t count) {
  std::vector<std::uint32_t> values(count);
  std::iota(values.begin(), values.end(), 0u);
  return values;
}

TEST(SampleStreamTest, APermutationHoldsEverySampleOnce) {
  for (const std::uint32_t size : {1u, 2u, 3u, 7u, 64u, 1000u, 60000u}) {
    EXPECT_EQ(sorted(SampleStream::permutation(std::random_device{}(), 3, size)), first_numbers(size))
        << size;
  }
}

TEST(SampleStreamTest, ThePermutationIsKeyedBySeedAndEpoch) {
  std::set<std::vector<std::uint32_t>> seen;
  for (std::uint64_t seed : {0ull, 1ull, 2ull, 1ull << 32, 1ull << 63}) {
    for (std::uint64_t epoch : {0ull, 1ull, 2ull, 1ull << 32}) {
      const auto order = SampleStream::permutation(seed, epoch, 100);
      EXPECT_EQ(order, SampleStream::permutation(seed, epoch, 100));
      seen.insert(order);
    }
  }
  EXPECT_EQ(seen.size(), 20u);
}

// Training runs repeat bit for bit only while these stay.
TEST(SampleStreamTest, TheOrderIsTheSameInEveryBuild) {
  EXPECT_THAT(SampleStream::permutation(0, 0, 8), ElementsAre(0, 5, 7, 2, 1, 6, 4, 3));
  EXPECT_THAT(SampleStream::permutation(7, 2, 8), ElementsAre(1, 0, 3, 4, 6, 5, 2, 7));
}

// Every place gets every sample about equally often: 6 samples, 6000 orders, 1000 expected in each cell with
// a standard deviation of 29.
TEST(SampleStreamTest, PermutationsAreUniform) {
  int count[6][6] = {};
  for (std::uint64_t epoch = 0; epoch < 6000; ++epoch) {
    const auto order = SampleStream::permutation(11, epoch, 6);
    for (int place = 0; place < 6; ++place) ++count[place][order[place]];
  }
  for (const auto& row : count) {
    for (const int cell : row) EXPECT_NEAR(cell, 1000, 150);
  }
}

TEST(SampleStreamTest, EveryBatchIsFullAndEveryEpochUsesEverySampleOnce) {
  constexpr std::uint32_t kSize = 103;
  for (const std::uint32_t batch : {1u, 10u, 64u, 103u, 250u}) {
    SampleStream stream(5, kSize);
    std::vector<std::vector<std::uint32_t>> epochs(7);
    const std::uint64_t steps = 7 * kSize / batch;
    for (std::uint64_t step = 0; step < steps; ++step) {
      for (std::uint64_t position = step * batch; position < (step + 1) * batch; ++position) {
        epochs[stream.epoch_at(position)].push_back(stream.sample_at(position));
      }
    }
    for (std::uint64_t epoch = 0; epoch < steps * batch / kSize; ++epoch) {
      EXPECT_EQ(epochs[epoch], SampleStream::permutation(5, epoch, kSize)) << "batch " << batch;
    }
  }
}

TEST(SampleStreamTest, ReadingARunEqualsReadingOneByOneInAnyOrder) {
  SampleStream one(9, 50), other(9, 50);
  std::mt19937 engine(std::random_device{}());
  for (int round = 0; round < 200; ++round) {
    const std::uint64_t position = engine() % 1000;
    std::vector<std::uint32_t> run(engine() % 200);
    other.read(position, run);
    for (std::size_t i = 0; i < run.size(); ++i) ASSERT_EQ(run[i], one.sample_at(position + i)) << position;
  }
}

TEST(SampleStreamTest, AnEmptySetIsOurOwnMistake) {
  EXPECT_THROW(SampleStream(1, 0), InvariantError);
}

}  // namespace
}  // namespace seng
