// Offers that run, and who follows them, over real sockets.
#include "actors/state/blob_stream.h"

#include <future>
#include <random>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "actors/state/blob_fetch.h"
#include "actors/state/blob_server.h"
#include "tests/protocol/random_body.h"
#include "tests/protocol/temp_dir.h"

namespace seng::blob_stream_test {
namespace {

using ::testing::HasSubstr;
using Bytes = std::vector<std::byte>;

constexpr GroupEpoch kEpoch{2, 5};

// A blob that keeps its bytes.
Blob owned(const std::string& name, std::uint64_t version, Bytes bytes) {
  auto memory = std::make_shared<const Bytes>(std::move(bytes));
  return {name, version, *memory, memory};
}

struct BlobStreamTest : ::testing::Test {
  BlobStreamTest() {
    auto opened = BlobServer::open({.endpoint = endpoint, .token = "secret"});
    EXPECT_TRUE(opened);
    server = *std::move(opened);
  }
  // Every version's bytes are its own.
  Bytes version(std::uint64_t number) const {
    Bytes bytes(size);
    std::mt19937_64 random(seed + number);
    for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
    return bytes;
  }
  void make(std::uint64_t number) { server->amend({owned("step", number, version(number))}, {}); }
  std::unique_ptr<BlobStream> follow(std::uint64_t first, std::size_t ahead = 4) {
    auto stream = BlobStream::open({.job = 1,
                                    .epoch = kEpoch,
                                    .self = 9,
                                    .token = "secret",
                                    .endpoint = endpoint,
                                    .name = "step",
                                    .bytes = size,
                                    .first = first,
                                    .window = 3,
                                    .ahead = ahead});
    EXPECT_TRUE(stream);
    return *std::move(stream);
  }
  FetchOptions fetch_options() const {
    FetchOptions options;
    options.job = 1;
    options.epoch = kEpoch;
    options.self = 9;
    options.token = "secret";
    options.endpoints = {endpoint};
    return options;
  }

  TempDir directory;
  const std::string endpoint = "ipc://" + directory.file("s");
  std::unique_ptr<BlobServer> server;
  std::size_t size = 100;
  const std::uint64_t seed = fresh_seed();
};

TEST_F(BlobStreamTest, GivesEveryVersionInOrder) {
  size = 2 * kBlobPieceBytes + 17;
  server->run(kEpoch);
  std::thread maker([&] {
    for (std::uint64_t number = 3; number < 23; ++number) make(number);
  });
  const auto stream = follow(3);
  for (std::uint64_t number = 3; number < 23; ++number) {
    ASSERT_EQ(stream->version(), number);
    const auto bytes = stream->next();
    ASSERT_TRUE(bytes) << bytes.error().message;
    EXPECT_TRUE(std::ranges::equal(*bytes, version(number))) << number;
    EXPECT_GE(stream->newest(), number);
    EXPECT_LT(stream->newest(), 23u);
  }
  EXPECT_EQ(stream->bytes(), 20 * size);
  maker.join();
}

TEST_F(BlobStreamTest, WaitsForTheMembershipAndForTheVersion) {
  const auto stream = follow(1);
  auto got = std::async(std::launch::async, [&] { return stream->next().has_value(); });
  server->offer({2, 4}, {});  // of the one before
  server->run(kEpoch);
  make(1);
  EXPECT_TRUE(got.get());
}

TEST_F(BlobStreamTest, AnInterruptionEndsOneWait) {
  server->run(kEpoch);
  const auto stream = follow(1);
  auto got = std::async(std::launch::async, [&] { return stream->next().error().code; });
  stream->interrupt();
  EXPECT_EQ(got.get(), ErrorCode::kCancelled);
  make(1);
  const auto bytes = stream->next();
  ASSERT_TRUE(bytes) << bytes.error().message;
  EXPECT_TRUE(std::ranges::equal(*bytes, version(1)));
}

TEST_F(BlobStreamTest, PatienceEndsAndTheNextCallGoesOn) {
  server->run(kEpoch);
  const auto stream = follow(1);
  const auto nothing = stream->next(1);
  ASSERT_FALSE(nothing);
  EXPECT_EQ(nothing.error().code, ErrorCode::kTimeout);
  make(1);
  EXPECT_TRUE(stream->next(60000));
}

TEST_F(BlobStreamTest, WhatWasLetGoIsRefusedAndNotWaitedFor) {
  server->run(kEpoch);
  for (std::uint64_t number = 1; number < 10; ++number) make(number);
  server->amend({}, {{"step", 1}, {"step", 2}});
  const auto stream = follow(2);
  const auto bytes = stream->next();
  ASSERT_FALSE(bytes);
  EXPECT_EQ(bytes.error().code, ErrorCode::kUnavailable);
  EXPECT_THAT(bytes.error().message, HasSubstr("version 2 of step cannot be had: not this version, but 9"));
}

// Whatever ends the offer, nobody waits on.
TEST_F(BlobStreamTest, WhoWaitsIsToldThatTheOfferIsOver) {
  for (const bool another : {false, true}) {
    server->run(kEpoch);
    make(1);
    const auto stream = follow(1);
    ASSERT_TRUE(stream->next());
    auto got = std::async(std::launch::async, [&] { return stream->next().error().code; });
    if (another) {
      server->offer({2, 6}, {});
    } else {
      server->withdraw();
    }
    EXPECT_EQ(got.get(), ErrorCode::kUnavailable) << another;
    if (another) break;
  }
}

TEST_F(BlobStreamTest, AVersionOfAnotherSizeIsRefused) {
  server->run(kEpoch);
  server->amend({owned("step", 1, Bytes(size + 1))}, {});
  const auto stream = follow(1);
  const auto bytes = stream->next();
  ASSERT_FALSE(bytes);
  EXPECT_EQ(bytes.error().code, ErrorCode::kUnavailable) << "the holder knows the size";
}

// A fetch waits for a blob that is still to come as well; what is added keeps its memory until it is dropped.
TEST_F(BlobStreamTest, AFetchWaitsForABlobToCome) {
  size = 3 * kBlobPieceBytes + 5;
  server->run(kEpoch);
  Bytes into(size);
  BlobFetch fetch(fetch_options(), {{"snapshot", 7, into, {0}}});
  auto got = std::async(std::launch::async, [&] { return fetch.run(); });
  auto memory = std::make_shared<const Bytes>(version(7));
  std::weak_ptr<const Bytes> kept = memory;
  server->amend({{"snapshot", 7, *memory, memory}}, {});
  memory.reset();
  const auto stats = got.get();
  ASSERT_TRUE(stats) << stats.error().message;
  EXPECT_EQ(into, version(7));
  EXPECT_FALSE(kept.expired());
  server->withdraw();
  EXPECT_TRUE(kept.expired());
}

TEST_F(BlobStreamTest, WhatIsAmendedWithoutARunningOfferIsLetGo) {
  auto memory = std::make_shared<const Bytes>(version(1));
  const std::weak_ptr<const Bytes> kept = memory;
  server->offer(kEpoch, {});
  server->amend({{"step", 1, *memory, memory}}, {});
  memory.reset();
  server->withdraw();  // behind it
  EXPECT_TRUE(kept.expired());
}

// What is asked for beyond that a holder would refuse.
TEST(BlobStreamWindow, IsBelowWhatAHolderGives) {
  static_assert(2 * kMostPiecesAsked <= kMostPiecesInFlight);
  EXPECT_EQ(BlobServerOptions{}.max_in_flight, kMostPiecesInFlight);
  BlobStreamOptions options;
  options.endpoint = "ipc:///nowhere/s";
  options.bytes = 8;
  options.window = kMostPiecesAsked + 1;
  EXPECT_THROW((void)BlobStream::open(options), InvariantError);
}

}  // namespace
}  // namespace seng::blob_stream_test
