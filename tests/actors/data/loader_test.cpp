#include "actors/data/loader.h"

#include <atomic>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace seng {
namespace {

constexpr std::uint32_t kBroken = 777;

// One pixel, the sample's index; counts what is read, and reads only while its gate is open.
class Gated : public Dataset {
 public:
  std::size_t size() const override { return 1000; }
  int channels() const override { return 1; }
  int height() const override { return 1; }
  int width() const override { return 1; }
  int classes() const override { return 10; }
  std::size_t bytes() const override { return 0; }
  Status read(std::span<const std::uint32_t> indices, float* images, std::int32_t* labels) const override {
    latest = indices[0];
    ++begun;
    begun.notify_all();
    open.wait(false);
    for (std::size_t i = 0; i < indices.size(); ++i) {
      if (indices[i] == kBroken) return fail(ErrorCode::kCorrupt, "picture 777");
      images[i] = static_cast<float>(indices[i]);
      labels[i] = static_cast<std::int32_t>(indices[i] % 10);
    }
    return {};
  }
  void open_gate() {
    open = true;
    open.notify_all();
  }
  void await_begun(int count) const {
    for (int now = begun; now < count; now = begun) begun.wait(now);
  }
  mutable std::atomic<int> begun{0};
  mutable std::atomic<std::uint32_t> latest{0};  // the first sample of what was begun last
  std::atomic<bool> open{false};
};

UpcomingBatch batch_at(std::uint64_t position) {
  UpcomingBatch batch{position, {}};
  for (std::uint32_t i = 0; i < 4; ++i)
    batch.samples.push_back({position / 1000, static_cast<std::uint32_t>((position + i) % 1000)});
  return batch;
}

class LoaderTest : public ::testing::Test {
 protected:
  void expect_taken(Loader& loader, std::uint64_t position) {
    LabelledImages out;
    const auto status = loader.take(position, batch_at(position).samples, out);
    ASSERT_TRUE(status) << status.error().message;
    for (std::size_t i = 0; i < 4; ++i) EXPECT_EQ(out.images[i], static_cast<float>((position + i) % 1000));
  }
  Gated data_;
  Augmenter augmenter_ = *Augmenter::create({}, 1, data_);
};

TEST_F(LoaderTest, ReadsAheadWithinItsBound) {
  Loader loader(augmenter_, {.workers = 5, .ahead = 3});
  std::vector<UpcomingBatch> upcoming;
  for (std::uint64_t p = 0; p < 40; p += 4) upcoming.push_back(batch_at(p));
  loader.announce(upcoming);
  data_.await_begun(3);  // before anybody takes anything
  EXPECT_EQ(data_.begun, 3);
  data_.open_gate();
  for (std::uint64_t p = 0; p < 40; p += 4) expect_taken(loader, p);
  EXPECT_EQ(data_.begun, 10) << "each is read once";
}

// Lanes may come to later positions first.
TEST_F(LoaderTest, ReadsInTheOrderOfTheAnnouncement) {
  Loader loader(augmenter_, {.workers = 1, .ahead = 1});
  loader.announce({batch_at(20), batch_at(0), batch_at(8)});
  data_.await_begun(1);
  EXPECT_EQ(data_.latest, 20u);
  loader.announce({batch_at(20), batch_at(12), batch_at(8), batch_at(4)});
  data_.open_gate();
  expect_taken(loader, 20);
  data_.await_begun(2);
  EXPECT_EQ(data_.latest, 12u);
  for (const std::uint64_t p : {12, 8, 4}) expect_taken(loader, p);
}

TEST_F(LoaderTest, WhatIsNotUnderWayIsReadByTheTaker) {
  data_.open_gate();
  Loader none(augmenter_, {});
  none.announce({batch_at(0)});
  expect_taken(none, 0);
  Loader loader(augmenter_, {.workers = 1, .ahead = 1});
  expect_taken(loader, 8);  // never announced
  loader.announce({batch_at(0), batch_at(4), batch_at(8)});
  expect_taken(loader, 8);
  expect_taken(loader, 0);
  expect_taken(loader, 4);
}

TEST_F(LoaderTest, WhatIsNoLongerWantedIsDropped) {
  Loader loader(augmenter_, {.workers = 1, .ahead = 2});
  loader.announce({batch_at(0), batch_at(4)});
  data_.await_begun(1);  // position 0 is being read
  loader.announce({batch_at(20)});
  data_.open_gate();
  expect_taken(loader, 20);
  expect_taken(loader, 0);
  expect_taken(loader, 4);
}

TEST_F(LoaderTest, AFailureComesWithItsMicroBatch) {
  data_.open_gate();
  Loader loader(augmenter_, {.workers = 2, .ahead = 2});
  loader.announce({batch_at(0), batch_at(776)});
  LabelledImages out;
  expect_taken(loader, 0);
  const auto status = loader.take(776, batch_at(776).samples, out);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().message, "picture 777");
}

}  // namespace
}  // namespace seng
