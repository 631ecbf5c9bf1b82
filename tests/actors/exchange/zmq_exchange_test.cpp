// Members as threads of one process, over real ipc sockets.
#include "actors/exchange/zmq_exchange.h"

#include <atomic>
#include <chrono>
#include <filesystem>
#include <future>
#include <thread>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zmq.hpp>

#include "tests/actors/exchange/exchange_world.h"

namespace seng {
namespace {

using testing::for_each_member;
using ::testing::HasSubstr;
using testing::kToken;
using testing::Random;
using testing::StepNumbers;
using testing::TestDriver;
using testing::World;

// With leaves, or sums of pieces, of more than one lane.
void steps_give_the_trees_bits(std::uint32_t actors, std::uint32_t micro_batches, bool adds_up) {
  Random random;
  SCOPED_TRACE("SENG_TEST_SEED=" + std::to_string(random.seed));
  World world(random, actors, micro_batches, 3000, 1024);
  world.adds_up = adds_up;
  for_each_member(world, [&](ActorId self) {
    const auto exchange = world.open(self);
    ASSERT_TRUE(exchange);
    ASSERT_TRUE(exchange->join(world.group(self)));
    TestDriver driver(world, self, *exchange, 2);
    for (std::uint64_t step = 1; step <= 4; ++step) ASSERT_EQ(driver.step(step), "");
    EXPECT_EQ(exchange->counters().refused, 0u);
    EXPECT_EQ(exchange->counters().duplicates, 0u);
    EXPECT_EQ(exchange->counters().stale, 0u);
    EXPECT_EQ(exchange->strangers(), 0u);
  });
}

class ZmqExchangeSizes : public ::testing::TestWithParam<std::pair<std::uint32_t, std::uint32_t>> {};

TEST_P(ZmqExchangeSizes, StepsOverSocketsGiveTheTreesBits) {
  steps_give_the_trees_bits(GetParam().first, GetParam().second, false);
}
TEST_P(ZmqExchangeSizes, SumsOfPiecesGiveTheTreesBits) {
  steps_give_the_trees_bits(GetParam().first, GetParam().second, true);
}
INSTANTIATE_TEST_SUITE_P(All, ZmqExchangeSizes,
                         ::testing::Values(std::pair{1u, 5u}, std::pair{2u, 8u}, std::pair{3u, 8u},
                                           std::pair{4u, 7u}));

TEST(ZmqExchange, RunsOfAMegabyteAndSmallBlocksTogether) {
  Random random;
  SCOPED_TRACE("SENG_TEST_SEED=" + std::to_string(random.seed));
  World world(random, 2, 4, 50, kRunFloats);
  world.blocks.back() = Block{.kind = BlockKind::kLinear, .m = 600, .n = 1000, .count = 600'000};
  world.numbers = StepNumbers(random.seed, world.blocks, 4);
  for_each_member(world, [&](ActorId self) {
    const auto exchange = world.open(self);
    ASSERT_TRUE(exchange->join(world.group(self)));
    TestDriver driver(world, self, *exchange, 1);
    for (std::uint64_t step = 2; step <= 3; ++step) ASSERT_EQ(driver.step(step), "");
  });
}

TEST(ZmqExchange, ANewMembershipGoesOnOverTheSameSockets) {
  Random random;
  SCOPED_TRACE("SENG_TEST_SEED=" + std::to_string(random.seed));
  World world(random, 3, 6, 500, 64);
  // Actor 2 leaves after two steps; the others take over its range.
  World after(random, 2, 6, 500, 64);
  after.blocks = world.blocks;
  after.numbers = world.numbers;
  for (int i = 0; i < 2; ++i) after.members[i].endpoint = world.members[i].endpoint;
  for_each_member(world, [&](ActorId self) {
    const auto exchange = world.open(self);
    ASSERT_TRUE(exchange->join(world.group(self)));
    TestDriver driver(world, self, *exchange, 1);
    for (std::uint64_t step = 1; step <= 2; ++step) ASSERT_EQ(driver.step(step), "");
    if (self == 2) return;
    ASSERT_TRUE(exchange->join(after.group(self, {1, 2})));
    TestDriver next(after, self, *exchange, 1);
    for (std::uint64_t step = 3; step <= 5; ++step) ASSERT_EQ(next.step(step), "");
  });
}

TEST(ZmqExchange, WhoGathersSaysFromWhom) {
  Random random;
  const World world(random, 2, 2, 50, 64);
  const auto exchange = world.open(0);
  ASSERT_TRUE(exchange->join(world.group(0)));
  EXPECT_FALSE(exchange->take_message(MessageKind::kEvaluationPart, 1));
  std::thread leader([&] {
    EXPECT_TRUE(
        std::holds_alternative<Interrupted>(exchange->next_message(MessageKind::kEvaluationPart, 1, {1})));
  });
  while (exchange->awaits() != std::vector<ActorId>{1}) std::this_thread::yield();
  exchange->interrupt("enough");
  leader.join();
  EXPECT_EQ(exchange->awaits(), std::vector<ActorId>{});
}

TEST(ZmqExchange, MessagesBesideTheStepsReachTheLeader) {
  Random random;
  const World world(random, 3, 3, 50, 64);
  for_each_member(world, [&](ActorId self) {
    const auto exchange = world.open(self);
    ASSERT_TRUE(exchange->join(world.group(self)));
    TestDriver driver(world, self, *exchange, 1);
    ASSERT_EQ(driver.step(1), "");
    if (self != 0) {
      // In the "wrong" order: the leader asks for evaluations first.
      exchange->send(0, 1, CheckpointShard{.file = fmt::format("f{}", self)});
      exchange->send(0, 1, EvaluationPart{self, {0.25}, {7}});
    } else {
      std::vector<std::string> seen;
      for (int i = 0; i < 2; ++i) {
        const auto message = exchange->next_message(MessageKind::kEvaluationPart, 1, {});
        const auto& peer = std::get<PeerMessage>(message);
        const auto& part = std::get<EvaluationPart>(peer.body);
        EXPECT_EQ(part.first_batch, peer.from);
        EXPECT_EQ(part.hits, (std::vector<std::uint64_t>{7}));
      }
      for (int i = 0; i < 2; ++i) {
        const ExchangeEvent event = exchange->next();
        seen.push_back(std::get<CheckpointShard>(std::get<PeerMessage>(event).body).file);
      }
      EXPECT_THAT(seen, ::testing::UnorderedElementsAre("f1", "f2"));
    }
    ASSERT_EQ(driver.step(2), "");
  });
}

// Of two members, only actor 0 is real; actor 1 is whatever the test makes of it.
class HalfGroup : public ::testing::Test {
 protected:
  HalfGroup() : world_(random_, 2, 2, 50, 64) {
    world_.linger_ms = 100;  // there may be nobody to wait for
    exchange_ = world_.open(0);
    EXPECT_TRUE(exchange_->join(world_.group(0)));
  }

  // The real one needs nothing more of the other than its part of one step, sent well-behaved, to complete
  // it: so whatever came before over the same server did no harm.
  void step_completes_with_a_good_peer(std::uint64_t step) {
    std::thread peer([&] {
      const auto other = world_.open(1);
      ASSERT_TRUE(other->join(world_.group(1)));
      TestDriver driver(world_, 1, *other, 1);
      EXPECT_EQ(driver.step(step), "");
    });
    TestDriver driver(world_, 0, *exchange_, 1);
    EXPECT_EQ(driver.step(step), "");
    peer.join();
  }
  void wait_until(const std::function<bool()>& what) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (!what()) {
      ASSERT_LT(std::chrono::steady_clock::now(), deadline);
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }
  Envelope envelope(GroupEpoch epoch = {1, 1}) const {
    Envelope envelope;
    envelope.job = 7;
    envelope.epoch = epoch;
    envelope.step = 1;
    envelope.from = 1;
    return envelope;
  }
  // A part of the summary that is right in all but who sends it.
  Message summary_part(GroupEpoch epoch = {1, 1}) const {
    const std::vector<float> values(kSummaryFloats, 1e9f);
    const auto summary = static_cast<std::uint32_t>(world_.blocks.size());
    return make_message(envelope(epoch), PartialSums{{{summary, 1, 2, 0, kSummaryFloats}}},
                        {Frame::copy_of(values.data(), values.size() * sizeof(float))});
  }
  Message hello(const std::string& token, ActorId from = 1) const {
    Envelope as = envelope();
    as.from = from;
    return make_message(as, PeerHello{token});
  }
  std::unique_ptr<ClientChannel> connect(ChannelContext& context) const {
    auto client = connect_client(context, world_.members[0].endpoint);
    EXPECT_TRUE(client);
    return *std::move(client);
  }

  Random random_;
  World world_;
  std::unique_ptr<ZmqExchange> exchange_;
};

TEST_F(HalfGroup, APeerWithoutTheTokenIsIgnored) {
  ChannelContext context;
  const auto stranger = connect(context);
  ASSERT_TRUE(stranger->send(summary_part()));
  ASSERT_TRUE(stranger->send(hello("guessed")));
  ASSERT_TRUE(stranger->send(summary_part()));
  ASSERT_TRUE(stranger->send(hello("")));
  wait_until([&] { return exchange_->strangers() == 4; });
  step_completes_with_a_good_peer(1);
  EXPECT_EQ(exchange_->counters().refused, 0u);
}

TEST_F(HalfGroup, APeerSpeaksOnlyInItsOwnName) {
  ChannelContext context;
  const auto other = connect(context);
  ASSERT_TRUE(other->send(hello(kToken, 5)));
  ASSERT_TRUE(other->send(summary_part()));
  wait_until([&] { return exchange_->strangers() == 1; });
  step_completes_with_a_good_peer(1);
}

TEST_F(HalfGroup, AnotherEpochIsNotHeard) {
  ChannelContext context;
  const auto old = connect(context);
  ASSERT_TRUE(old->send(hello(kToken)));
  ASSERT_TRUE(old->send(summary_part({1, 0})));
  ASSERT_TRUE(old->send(summary_part({0, 9})));
  wait_until([&] { return exchange_->counters().stale == 2; });
  step_completes_with_a_good_peer(1);
}

TEST_F(HalfGroup, GarbageOfATrustedPeerIsRefused) {
  ChannelContext context;
  const auto peer = connect(context);
  ASSERT_TRUE(peer->send(hello(kToken)));
  for (int i = 0; i < 200; ++i) {
    Message message = summary_part();
    std::string body(random_.below(60), '\0');
    for (char& c : body) c = static_cast<char>(random_.below(256));
    // Some random map might be a message, if a senseless one.
    if (!body.empty()) body[0] = static_cast<char>(0xc0 + random_.below(16));
    message.body = Frame::from_string(body);
    message.envelope.kind = static_cast<std::uint16_t>(301 + random_.below(6));
    ASSERT_TRUE(peer->send(message));
  }
  wait_until([&] { return exchange_->counters().refused >= 200; });
  step_completes_with_a_good_peer(1);
}

TEST_F(HalfGroup, GarbageFramesAndBytesDoNoHarm) {
  {
    zmq::context_t context;
    zmq::socket_t raw(context, zmq::socket_type::dealer);
    raw.set(zmq::sockopt::linger, 2000);
    raw.connect(world_.members[0].endpoint);
    for (int i = 0; i < 300; ++i) {
      const std::uint32_t frames = random_.between(1, 5);
      for (std::uint32_t frame = 0; frame < frames; ++frame) {
        std::string bytes(random_.below(100), '\0');
        for (char& c : bytes) c = static_cast<char>(random_.below(256));
        raw.send(zmq::buffer(bytes), frame + 1 < frames ? zmq::send_flags::sndmore : zmq::send_flags::none);
      }
    }
  }
  step_completes_with_a_good_peer(1);
}

TEST_F(HalfGroup, APeerThatDisappearsLeavesADriverThatCanBeInterrupted) {
  std::string reason;
  std::promise<void> waiting;
  std::thread driver_thread([&] {
    {
      // It says hello and vanishes.
      const auto other = world_.open(1);
      ASSERT_TRUE(other->join(world_.group(1)));
    }
    waiting.set_value();
    TestDriver driver(world_, 0, *exchange_, 2);
    reason = driver.step(1);
  });
  waiting.get_future().wait();
  exchange_->interrupt("the membership changes");
  exchange_->interrupt("again");
  driver_thread.join();
  EXPECT_EQ(reason, "the membership changes");
  // It stays so until the next membership.
  EXPECT_TRUE(std::holds_alternative<Interrupted>(exchange_->next()));
  EXPECT_TRUE(std::holds_alternative<Interrupted>(exchange_->next_message(MessageKind::kStateDigest, 1, {})));
  world_.members = testing::make_members(1, 2);
  world_.members[0].endpoint = "ipc://" + world_.directory.file("a0");
  ASSERT_TRUE(exchange_->join(world_.group(0, {1, 2})));
  TestDriver driver(world_, 0, *exchange_, 2);
  EXPECT_EQ(driver.step(1), "");
}

TEST(ZmqExchangeOpen, SaysWhatIsWrong) {
  Random random;
  World world(random, 2, 2, 50, 64);
  world.linger_ms = 0;
  ZmqExchangeOptions options;
  options.step.block_floats = block_floats(world.blocks);
  options.endpoint = "ipc:///nowhere/at/all/a0";
  const auto nowhere = ZmqExchange::open(options);
  ASSERT_FALSE(nowhere);
  EXPECT_THAT(nowhere.error().message, HasSubstr("/nowhere/at/all/a0"));
  options.endpoint.clear();
  const auto alone = ZmqExchange::open(options);
  ASSERT_TRUE(alone);
  const Status joined = (*alone)->join(world.group(0));
  ASSERT_FALSE(joined);
  EXPECT_THAT(joined.error().message, HasSubstr("group of one"));
  const auto first = world.open(0);
  world.members[1].endpoint = "carrier-pigeon://loft";
  const Status unreachable = first->join(world.group(0));
  ASSERT_FALSE(unreachable);
  EXPECT_THAT(unreachable.error().message, HasSubstr("actor 1"));
}

// What lies idle uses no processor time: nobody polls.
TEST(ZmqExchangeOpen, WaitsWithoutSpinning) {
  Random random;
  World world(random, 2, 2, 50, 64);
  world.linger_ms = 0;
  const auto exchange = world.open(0);
  ASSERT_TRUE(exchange->join(world.group(0)));
  exchange->begin_step(1);
  std::thread driver([&] { EXPECT_TRUE(std::holds_alternative<Interrupted>(exchange->next())); });
  const auto used = [] {
    timespec time{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
  };
  const double before = used();
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  // The peer is not there, so its connection is tried again now and then.
  EXPECT_LT(used() - before, 0.05);
  exchange->interrupt("done");
  driver.join();
}

}  // namespace
}  // namespace seng
