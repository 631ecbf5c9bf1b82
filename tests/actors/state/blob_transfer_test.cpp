// Servers and fetches over real sockets, and a holder that the test plays itself.
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <random>
#include <thread>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <zmq.hpp>

#include "actors/state/blob_fetch.h"
#include "actors/state/blob_server.h"
#include "protocol/channel/poller.h"
#include "tests/protocol/random_body.h"
#include "tests/protocol/temp_dir.h"

namespace seng::blob_transfer_test {
namespace {

using ::testing::HasSubstr;

constexpr const char* kToken = "the job's secret";
constexpr GroupEpoch kEpoch{2, 5};
using Bytes = std::vector<std::byte>;

Bytes random_bytes(std::size_t size) {
  std::mt19937_64 random(fresh_seed());
  Bytes bytes(size);
  for (std::size_t i = 0; i < size; i += 8) {
    const std::uint64_t word = random();
    std::memcpy(&bytes[i], &word, std::min<std::size_t>(8, size - i));
  }
  return bytes;
}

std::unique_ptr<BlobServer> open_server(const std::string& endpoint, BlobServerOptions options = {}) {
  options.endpoint = endpoint;
  options.token = kToken;
  auto server = BlobServer::open(std::move(options));
  EXPECT_TRUE(server) << server.error().message;
  return server ? *std::move(server) : nullptr;
}

// The time after which a holder that is gone is given up: one that lives serves within it on a busy machine
// too.
constexpr double kShortStall_s = 3;

FetchOptions fetch_options(std::vector<std::string> endpoints, double stall_s = 20) {
  FetchOptions options;
  options.job = 3;
  options.epoch = kEpoch;
  options.self = 9;
  options.token = kToken;
  options.endpoints = std::move(endpoints);
  options.stall_s = stall_s;
  return options;
}

struct World {
  std::string endpoint(int i) const { return "ipc://" + directory.file(fmt::format("s{}", i)); }
  std::vector<std::unique_ptr<BlobServer>> open(int count) const {
    std::vector<std::unique_ptr<BlobServer>> servers;
    for (int i = 0; i < count; ++i) servers.push_back(open_server(endpoint(i)));
    return servers;
  }
  std::vector<std::string> endpoints(int count) const {
    std::vector<std::string> all;
    for (int i = 0; i < count; ++i) all.push_back(endpoint(i));
    return all;
  }
  TempDir directory;
};

// A holder whose answers the test makes up. Sees requests in the order of their arrival, on its own thread.
class FakeHolder {
 public:
  using Answer = std::function<void(ServerChannel&, const PeerId&, const Envelope&, const BlobRequest&)>;

  FakeHolder(const std::string& endpoint, Answer answer) : answer_(std::move(answer)) {
    auto server = bind_server(context_, endpoint, {.linger_ms = 0});
    EXPECT_TRUE(server);
    server_ = *std::move(server);
    thread_ = std::thread([this] { serve(); });
  }
  ~FakeHolder() {
    stop_ = true;
    thread_.join();
  }

  // What a true holder says.
  static void piece(ServerChannel& server, const PeerId& to, Envelope envelope, const BlobRequest& request,
                    const Bytes& blob) {
    envelope.from = kNoActor;
    if (request.count == 0) {
      std::vector<BlobHash> hashes;
      for (std::size_t i = 0; i < piece_count(blob.size()); ++i)
        hashes.push_back(hash_piece(piece_of(std::span<const std::byte>(blob), i)));
      const BlobHash hash = hash_of_pieces(hashes);
      (void)server.send(to, make_message(envelope, BlobDigest{request.name, request.version, blob.size(),
                                                              hash.high, hash.low}));
      return;
    }
    const Frame payload = Frame::copy_of(&blob[request.offset], request.count);
    const BlobHash hash = hash_piece(payload.bytes());
    (void)server.send(to, make_message(envelope,
                                       BlobChunk{request.name, request.version, request.offset, request.count,
                                                 blob.size(), hash.high, hash.low},
                                       {payload}));
  }

 private:
  void serve() {
    Poller poller;
    poller.watch(*server_, 1);
    while (!stop_) {
      (void)poller.wait(5);
      while (auto incoming = server_->try_receive()) {
        const auto request = parse_body<BlobRequest>(incoming->message);
        ASSERT_TRUE(request);
        answer_(*server_, incoming->from, incoming->message.envelope, *request);
      }
    }
  }

  Answer answer_;
  ChannelContext context_;
  std::unique_ptr<ServerChannel> server_;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

TEST(BlobTransfer, FillsAndVerifiesFromOneToFourHolders) {
  for (int holders = 1; holders <= 4; ++holders) {
    SCOPED_TRACE(holders);
    const World world;
    std::vector<Bytes> from;
    std::vector<Bytes> into;
    std::vector<Blob> blobs;
    const auto servers = world.open(holders);
    const std::size_t sizes[] = {
        0, 1, kBlobPieceBytes - 1, kBlobPieceBytes, 3 * kBlobPieceBytes + 5, 9 * kBlobPieceBytes};
    for (const std::size_t size : sizes) {
      from.push_back(random_bytes(size));
      into.push_back(Bytes(size));
      blobs.push_back({fmt::format("blob {}", size), size + 7, from.back()});
    }
    for (std::size_t i = 0; i < blobs.size(); ++i) blobs[i].bytes = from[i];
    for (const auto& server : servers) server->offer(kEpoch, blobs);
    std::vector<BlobWant> wants;
    std::uint64_t total = 0;
    for (std::size_t i = 0; i < blobs.size(); ++i) {
      wants.push_back({blobs[i].name, blobs[i].version, into[i], {}});
      for (int h = 0; h < holders; ++h) wants.back().holders.push_back(static_cast<std::size_t>(h));
      total += blobs[i].bytes.size();
    }
    BlobFetch fetch(fetch_options(world.endpoints(holders)), wants);
    const auto stats = fetch.run();
    ASSERT_TRUE(stats) << stats.error().message;
    EXPECT_EQ(into, from);
    EXPECT_EQ(stats->bytes, total);
    EXPECT_EQ(stats->duplicates + stats->strays, 0u);
    std::uint64_t served = 0;
    for (const auto& server : servers) {
      EXPECT_GT(server->counters().bytes_served, 0u);
      served += server->counters().bytes_served;
    }
    EXPECT_EQ(served, total);
  }
}

TEST(BlobTransfer, WorksOverLoopbackTcp) {
  const Bytes from = random_bytes(2 * kBlobPieceBytes + 3);
  const auto server = open_server("tcp://127.0.0.1:*");
  Bytes into(from.size());
  server->offer(kEpoch, {{"w", 1, from}});
  BlobFetch fetch(fetch_options({server->endpoint()}), {{"w", 1, into, {0}}});
  const auto stats = fetch.run();
  ASSERT_TRUE(stats) << stats.error().message;
  EXPECT_EQ(into, from);
}

// Answers its first pieces and then falls silent: what it owes, and only that, is asked of the other.
TEST(BlobTransfer, GoesOnWithoutAHolderThatFallsSilent) {
  const World world;
  const Bytes from = random_bytes(20 * kBlobPieceBytes);
  Bytes into(from.size());
  const auto server = open_server(world.endpoint(0));
  server->offer(kEpoch, {{"w", 1, from}});
  int answered = 0;
  const FakeHolder silent(world.endpoint(1),
                          [&](auto& channel, const auto& to, const auto& envelope, const auto& request) {
                            if (++answered <= 3) FakeHolder::piece(channel, to, envelope, request, from);
                          });
  BlobFetch fetch(fetch_options(world.endpoints(2), kShortStall_s), {{"w", 1, into, {0, 1}}});
  const auto stats = fetch.run();
  ASSERT_TRUE(stats) << stats.error().message;
  EXPECT_EQ(into, from);
  EXPECT_EQ(stats->bytes_from[1], 3 * kBlobPieceBytes);
  EXPECT_EQ(stats->bytes_from[0], 17 * kBlobPieceBytes);
  EXPECT_EQ(server->counters().bytes_served, stats->bytes_from[0]);
}

// A holder is closed in the middle. The fetch fails for want of another; a second one, which is told of
// another holder, asks only for what is missing.
TEST(BlobTransfer, ResumesWithAnotherHolder) {
  const World world;
  const Bytes from = random_bytes(12 * kBlobPieceBytes + 1), small = random_bytes(100);
  Bytes into(from.size()), small_into(small.size());
  const std::vector<BlobWant> wants = {{"small", 4, small_into, {0}}, {"w", 1, into, {0}}};
  FetchProgress progress;
  std::uint64_t before = 0;
  {
    int answered = 0;
    const FakeHolder dying(
        world.endpoint(0), [&](auto& channel, const auto& to, const auto& envelope, const auto& request) {
          if (++answered <= 7)
            FakeHolder::piece(channel, to, envelope, request, request.name == "w" ? from : small);
        });
    BlobFetch fetch(fetch_options(world.endpoints(1), kShortStall_s), wants);
    const auto stats = fetch.run();
    ASSERT_FALSE(stats);
    EXPECT_EQ(stats.error().code, ErrorCode::kTimeout);
    EXPECT_THAT(stats.error().message, HasSubstr(world.endpoint(0)));
    EXPECT_THAT(stats.error().message, HasSubstr("blob w, version 1"));
    progress = fetch.take_progress();
    before = progress.bytes();
    EXPECT_GE(before, 5 * kBlobPieceBytes);
  }
  const auto server = open_server(world.endpoint(1));
  server->offer(kEpoch, {{"w", 1, from}, {"small", 4, small}});
  FetchOptions options = fetch_options(world.endpoints(2));
  options.resume = std::move(progress);
  std::vector<BlobWant> again = wants;
  for (BlobWant& want : again) want.holders = {1};
  BlobFetch fetch(std::move(options), again);
  const auto stats = fetch.run();
  ASSERT_TRUE(stats) << stats.error().message;
  EXPECT_EQ(into, from);
  EXPECT_EQ(small_into, small);
  EXPECT_EQ(stats->resumed_bytes, before);
  EXPECT_EQ(server->counters().bytes_served, from.size() + small.size() - before);
}

TEST(BlobTransfer, ClosesAServerInTheMiddle) {
  const World world;
  const Bytes from = random_bytes(64 * kBlobPieceBytes);
  auto servers = world.open(2);
  Bytes into(from.size());
  for (const auto& server : servers) server->offer(kEpoch, {{"w", 1, from}});
  std::thread closer([&] {
    while (servers[0]->counters().bytes_served < 4 * kBlobPieceBytes) std::this_thread::yield();
    servers[0].reset();
  });
  BlobFetch fetch(fetch_options(world.endpoints(2), kShortStall_s), {{"w", 1, into, {0, 1}}});
  const auto stats = fetch.run();
  closer.join();
  ASSERT_TRUE(stats) << stats.error().message;
  EXPECT_EQ(into, from);
  EXPECT_EQ(stats->bytes, from.size());
}

TEST(BlobTransfer, TakesNoCorruptPiece) {
  const World world;
  const Bytes from = random_bytes(6 * kBlobPieceBytes);
  Bytes into(from.size());
  const FakeHolder corrupt(
      world.endpoint(0), [&](auto& channel, const auto& to, const auto& envelope, const auto& request) {
        Bytes changed = from;
        const Frame payload = Frame::copy_of(&from[request.offset], request.count);
        const BlobHash hash = hash_piece(payload.bytes());
        changed[request.offset + request.count / 2] ^= std::byte{4};
        (void)channel.send(to, make_message(envelope,
                                            BlobChunk{request.name, request.version, request.offset,
                                                      request.count, from.size(), hash.high, hash.low},
                                            {Frame::copy_of(&changed[request.offset], request.count)}));
      });
  {
    BlobFetch fetch(fetch_options(world.endpoints(1)), {{"w", 1, into, {0}}});
    const auto stats = fetch.run();
    ASSERT_FALSE(stats);
    EXPECT_EQ(stats.error().code, ErrorCode::kCorrupt);
    EXPECT_THAT(stats.error().message, HasSubstr(world.endpoint(0)));
    EXPECT_THAT(stats.error().message, HasSubstr("hash"));
  }
  const auto server = open_server(world.endpoint(1));
  server->offer(kEpoch, {{"w", 1, from}});
  BlobFetch fetch(fetch_options(world.endpoints(2)), {{"w", 1, into, {0, 1}}});
  const auto stats = fetch.run();
  ASSERT_TRUE(stats) << stats.error().message;
  EXPECT_EQ(into, from);
  EXPECT_EQ(stats->bytes_from[0], 0u);
}

TEST(BlobTransfer, NamesHoldersThatDisagree) {
  const World world;
  const Bytes one = random_bytes(12 * kBlobPieceBytes);
  Bytes other = one, into(one.size());
  const auto servers = world.open(2);
  other.back() ^= std::byte{1};
  other.front() ^= std::byte{1};
  servers[0]->offer(kEpoch, {{"w", 1, one}});
  servers[1]->offer(kEpoch, {{"w", 1, other}});
  BlobFetch fetch(fetch_options(world.endpoints(2)), {{"w", 1, into, {0, 1}}});
  const auto stats = fetch.run();
  ASSERT_FALSE(stats);
  EXPECT_EQ(stats.error().code, ErrorCode::kCorrupt);
  EXPECT_THAT(stats.error().message, HasSubstr(world.endpoint(0)));
  EXPECT_THAT(stats.error().message, HasSubstr(world.endpoint(1)));
  EXPECT_EQ(fetch.take_progress().bytes(), 0u);
}

TEST(BlobTransfer, RefusesWithAReason) {
  const World world;
  const Bytes from = random_bytes(kBlobPieceBytes + 10);
  const auto server = open_server(world.endpoint(0));
  server->offer(kEpoch, {{"w", 6, from}});
  const auto error_of = [&](const std::string& name, std::uint64_t version, std::size_t size,
                            GroupEpoch epoch) {
    Bytes into(size);
    FetchOptions options = fetch_options(world.endpoints(1));
    options.epoch = epoch;
    BlobFetch fetch(options, {{name, version, into, {0}}});
    const auto stats = fetch.run();
    EXPECT_FALSE(stats);
    return stats ? "" : stats.error().message;
  };
  EXPECT_THAT(error_of("v", 6, from.size(), kEpoch), HasSubstr("no such blob"));
  EXPECT_THAT(error_of("w", 5, from.size(), kEpoch), HasSubstr("not this version, but 6"));
  EXPECT_THAT(error_of("w", 6, from.size() + 1, kEpoch), HasSubstr("its blob has"));
  EXPECT_THAT(error_of("w", 6, 3, kEpoch), HasSubstr("3 bytes at 0 are no piece of its"));
  EXPECT_THAT(error_of("w", 6, 0, kEpoch), HasSubstr("not the 0 that are wanted"));
  EXPECT_THAT(error_of("w", 6, from.size(), {2, 4}), HasSubstr("membership 2.4 is over"));
  server->withdraw();
  EXPECT_THAT(error_of("w", 6, from.size(), kEpoch), HasSubstr("is over"));
  EXPECT_GE(server->counters().refused, 6u);
  EXPECT_EQ(server->counters().bytes_served % kBlobPieceBytes, 0u);

  Bytes into(1);
  BlobFetch nobody(fetch_options(world.endpoints(1)), {{"w", 6, into, {}}});
  EXPECT_THAT(nobody.run().error().message, HasSubstr("no holder"));
  BlobFetch unknown(fetch_options(world.endpoints(1)), {{"w", 6, into, {1}}});
  EXPECT_EQ(unknown.run().error().code, ErrorCode::kInvalidArgument);
}

TEST(BlobTransfer, IgnoresAWrongToken) {
  const World world;
  const Bytes from = random_bytes(100);
  const auto server = open_server(world.endpoint(0));
  Bytes into(from.size());
  server->offer(kEpoch, {{"w", 1, from}});
  FetchOptions options = fetch_options(world.endpoints(1), kShortStall_s);
  options.token = "the job's secrex";
  BlobFetch fetch(options, {{"w", 1, into, {0}}});
  EXPECT_EQ(fetch.run().error().code, ErrorCode::kTimeout);
  EXPECT_EQ(server->counters().strangers, 1u);
  EXPECT_EQ(server->counters().bytes_served, 0u);
}

TEST(BlobTransfer, AnswersAParkedRequestWhenItsMembershipComes) {
  const World world;
  const Bytes old = random_bytes(10), from = random_bytes(3 * kBlobPieceBytes);
  const auto server = open_server(world.endpoint(0));
  server->offer({2, 4}, {{"w", 1, old}});
  Bytes into(from.size()), other(from.size());
  std::atomic<bool> done{false};
  std::thread fetcher([&] {
    BlobFetch fetch(fetch_options(world.endpoints(1)), {{"w", 1, into, {0}}});
    const auto stats = fetch.run();
    done = true;
    EXPECT_TRUE(stats) << stats.error().message;
  });
  // The requests lie there before the second fetch's are refused, for which its error is a sign.
  FetchOptions options = fetch_options(world.endpoints(1));
  options.epoch = {2, 3};
  BlobFetch late(options, {{"w", 1, other, {0}}});
  EXPECT_FALSE(late.run());
  EXPECT_FALSE(done);
  server->withdraw();
  EXPECT_FALSE(done);
  server->offer(kEpoch, {{"w", 1, from}});
  fetcher.join();
  EXPECT_EQ(into, from);
}

TEST(BlobTransfer, ParksOnlySoMuch) {
  const World world;
  BlobServerOptions limits;
  limits.max_parked = 2;
  const auto server = open_server(world.endpoint(0), limits);
  Bytes into(4 * kBlobPieceBytes);
  BlobFetch fetch(fetch_options(world.endpoints(1)), {{"w", 1, into, {0}}});
  EXPECT_THAT(fetch.run().error().message, HasSubstr("too many wait"));
}

TEST(BlobTransfer, IsInterruptedFromAnotherThread) {
  const World world;
  const auto server = open_server(world.endpoint(0));  // offers nothing: the request is parked
  Bytes into(10);
  BlobFetch fetch(fetch_options(world.endpoints(1), 100), {{"w", 1, into, {0}}});
  std::thread other([&] { fetch.interrupt(); });
  EXPECT_EQ(fetch.run().error().code, ErrorCode::kCancelled);
  other.join();
}

// Offers come and go while fetches run. The memory goes with its offer, so a read that comes later ends the
// test.
TEST(BlobTransfer, ReadsNothingAfterItsOfferHasGone) {
  const World world;
  const auto server = open_server(world.endpoint(0));
  const std::size_t size = 8 * kBlobPieceBytes;
  std::atomic<bool> stop{false};
  std::atomic<int> whole{0};
  const auto fetch_on = [&] {
    Bytes into(size);
    while (!stop) {
      BlobFetch fetch(fetch_options(world.endpoints(1)), {{"w", 1, into, {0}}});
      const auto stats = fetch.run();
      if (stats) {
        ++whole;
      } else {
        EXPECT_EQ(stats.error().code, ErrorCode::kUnavailable) << stats.error().message;
      }
    }
  };
  std::thread first(fetch_on), second(fetch_on);
  for (std::size_t round = 0; round < 40; ++round) {
    void* memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ASSERT_NE(memory, MAP_FAILED);
    server->offer(kEpoch, {{"w", 1, {static_cast<const std::byte*>(memory), size}}});
    const auto enough = server->counters().bytes_served + (round % 20 + 1) * kBlobPieceBytes;
    while (server->counters().bytes_served < enough) std::this_thread::yield();
    server->withdraw();
    munmap(memory, size);
  }
  stop = true;
  first.join();
  second.join();
  EXPECT_GE(whole, 1);
}

// The same while it hashes a large blob for its digest, wherever the withdrawal meets it.
TEST(BlobTransfer, StopsHashingWhenItsOfferGoes) {
  const World world;
  const auto server = open_server(world.endpoint(0));
  const std::size_t size = 64 * kBlobPieceBytes;
  zmq::context_t context(1);
  zmq::socket_t peer(context, zmq::socket_type::dealer);
  peer.set(zmq::sockopt::linger, 0);
  peer.connect(world.endpoint(0));
  std::mt19937_64 random(fresh_seed());
  for (int round = 0; round < 30; ++round) {
    // Its pages come as they are read, which makes the reading slow.
    void* memory = mmap(nullptr, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ASSERT_NE(memory, MAP_FAILED);
    server->offer(kEpoch, {{"w", 1, {static_cast<const std::byte*>(memory), size}}});
    const BlobRequest request{kToken, "w", 1, 0, 0};
    const auto header = encode_header(make_message({.epoch = kEpoch, .sequence = 1}, request)).value();
    peer.send(zmq::const_buffer(header.data(), header.size()), zmq::send_flags::none);
    const auto until = std::chrono::steady_clock::now() + std::chrono::microseconds(random() % 8000);
    while (std::chrono::steady_clock::now() < until) std::this_thread::yield();
    server->withdraw();
    munmap(memory, size);
    zmq::message_t answer;
    ASSERT_TRUE(peer.recv(answer));  // BlobDigest or BlobUnavailable
  }
}

// Requests that are none, of a connection with and without the token, and answers of every kind of nonsense.
TEST(BlobTransfer, SurvivesGarbage) {
  const World world;
  const Bytes from = random_bytes(2 * kBlobPieceBytes);
  const auto server = open_server(world.endpoint(0));
  server->offer(kEpoch, {{"w", 1, from}});
  zmq::context_t context(1);
  zmq::socket_t stranger(context, zmq::socket_type::dealer);
  stranger.set(zmq::sockopt::linger, 0);
  stranger.connect(world.endpoint(0));
  std::mt19937_64 random(fresh_seed());
  for (int i = 0; i < 200; ++i) {
    const Bytes noise = random_bytes(random() % 200);
    stranger.send(zmq::const_buffer(noise.data(), noise.size()), zmq::send_flags::none);
  }
  const std::uint64_t most = ~std::uint64_t{0};
  const std::vector<std::pair<std::uint64_t, std::uint64_t>> ranges = {{1, kBlobPieceBytes},
                                                                       {from.size(), kBlobPieceBytes},
                                                                       {3 * kBlobPieceBytes, kBlobPieceBytes},
                                                                       {kBlobPieceBytes, kBlobPieceBytes + 1},
                                                                       {most, kBlobPieceBytes},
                                                                       {1ull << 63, 1},
                                                                       {0, most},
                                                                       {most, most}};
  for (const auto& [offset, count] : ranges) {
    BlobRequest request{kToken, "w", 1, offset, count};
    const auto header =
        encode_header(make_message({.job = 3, .epoch = kEpoch, .sequence = 1}, request)).value();
    stranger.send(zmq::const_buffer(header.data(), header.size()), zmq::send_flags::none);
    zmq::message_t answer;
    ASSERT_TRUE(stranger.recv(answer));
    EXPECT_FALSE(answer.more());  // BlobUnavailable
  }
  Bytes into(from.size());
  BlobFetch fetch(fetch_options(world.endpoints(1)), {{"w", 1, into, {0}}});
  EXPECT_TRUE(fetch.run());
  EXPECT_EQ(into, from);
  EXPECT_EQ(server->counters().refused, ranges.size());
}

// A peer that asks for much and takes nothing costs the holder a bounded number of copies.
TEST(BlobTransfer, CopiesLittleForAPeerThatDoesNotRead) {
  const World world;
  BlobServerOptions limits;
  limits.max_in_flight = 3;
  const Bytes from = random_bytes(kBlobPieceBytes);
  const auto server = open_server(world.endpoint(0), limits);
  server->offer(kEpoch, {{"w", 1, from}});
  zmq::context_t context(1);
  zmq::socket_t greedy(context, zmq::socket_type::dealer);
  greedy.set(zmq::sockopt::linger, 0);
  greedy.set(zmq::sockopt::rcvhwm, 1);
  greedy.connect(world.endpoint(0));
  constexpr std::uint64_t kAsked = 60;
  for (std::uint64_t i = 1; i <= kAsked; ++i) {
    const BlobRequest request{kToken, "w", 1, 0, kBlobPieceBytes};
    const auto header = encode_header(make_message({.epoch = kEpoch, .sequence = i}, request)).value();
    greedy.send(zmq::const_buffer(header.data(), header.size()), zmq::send_flags::none);
  }
  const auto served = [&] { return server->counters().bytes_served / kBlobPieceBytes; };
  while (served() + server->counters().refused < kAsked) std::this_thread::yield();
  EXPECT_LE(served(), 20u);  // those in flight, and what the receiver's side and the sockets hold
}

TEST(BlobTransfer, SurvivesAHolderThatLies) {
  const World world;
  const Bytes from = random_bytes(8 * kBlobPieceBytes + 100);
  std::mt19937_64 random(fresh_seed());
  for (int round = 0; round < 20; ++round) {
    const auto liar = std::make_unique<FakeHolder>(
        world.endpoint(1), [&](auto& channel, const auto& to, Envelope envelope, BlobRequest request) {
          const BlobRequest truth = request;
          switch (random() % 10) {
            case 0:
              request.offset = random() >> random() % 64;
              break;
            case 1:
              request.count = random() >> random() % 64;
              break;
            case 2:
              request.name += "x";
              break;
            case 3:
              request.version += 1;
              break;
            case 4:
              envelope.sequence = random() % 20;
              break;
            case 5:
              envelope.epoch.counter += 1;
              break;
            case 6:
              FakeHolder::piece(channel, to, envelope, truth, from);
              break;  // and once more below
            case 7:
              (void)channel.send(to, make_message(envelope, BlobRequest{}));
              return;
            case 8: {
              RandomFill fill(random());
              (void)channel.send(to,
                                 make_message(envelope, fill.make<BlobChunk>(), {Frame::copy_of("abc", 3)}));
              return;
            }
            default:
              break;
          }
          BlobChunk chunk{request.name, request.version, request.offset, request.count, from.size(), 0, 0};
          const Frame payload = Frame::copy_of(from.data() + truth.offset, truth.count);
          const BlobHash hash = hash_piece(payload.bytes());
          chunk.hash_high = hash.high;
          chunk.hash_low = hash.low;
          if (truth.count == 0) return FakeHolder::piece(channel, to, envelope, truth, from);
          (void)channel.send(to, make_message(envelope, chunk, {payload}));
        });
    const auto server = open_server(world.endpoint(0));
    server->offer(kEpoch, {{"w", 1, from}});
    Bytes guarded(from.size() + 2 * kBlobPieceBytes, std::byte{0x5a});
    const std::span<std::byte> into(guarded.data() + kBlobPieceBytes, from.size());
    BlobFetch fetch(fetch_options(world.endpoints(2), kShortStall_s), {{"w", 1, into, {0, 1}}});
    const auto stats = fetch.run();
    ASSERT_TRUE(stats) << stats.error().message;
    EXPECT_TRUE(std::equal(into.begin(), into.end(), from.begin()));
    EXPECT_EQ(stats->bytes, from.size());
    const auto untouched = [](std::byte b) { return b == std::byte{0x5a}; };
    EXPECT_TRUE(std::all_of(guarded.begin(), guarded.begin() + kBlobPieceBytes, untouched));
    EXPECT_TRUE(std::all_of(guarded.end() - kBlobPieceBytes, guarded.end(), untouched));
  }
}

// Nobody polls: neither a server that nobody asks nor a fetch whose requests are parked.
TEST(BlobTransfer, WaitsWithoutSpinning) {
  const World world;
  const auto server = open_server(world.endpoint(0));
  Bytes into(10);
  BlobFetch fetch(fetch_options(world.endpoints(1), 100), {{"w", 1, into, {0}}});
  std::thread fetcher([&] { EXPECT_EQ(fetch.run().error().code, ErrorCode::kCancelled); });
  const auto used = [] {
    timespec time{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
  };
  const double before = used();
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  EXPECT_LT(used() - before, 0.05);
  fetch.interrupt();
  fetcher.join();
}

}  // namespace
}  // namespace seng::blob_transfer_test
