// A member that trains and a newcomer that follows it, over real sockets: whatever the newcomer comes to must
// be the member's, bit for bit.
#include <algorithm>
#include <filesystem>
#include <future>
#include <thread>

#include <gtest/gtest.h>

#include "actors/exchange/zmq_exchange.h"
#include "actors/follower.h"
#include "actors/make_group.h"
#include "actors/step_update.h"
#include "actors/trainer.h"
#include "actors/warm_up_service.h"
#include "tests/support/process.h"

namespace seng::warm_up_test {
namespace {

constexpr GroupEpoch kEpoch{1, 4};
constexpr const char* kSgd = "{name: sgd, lr: 0.05, momentum: 0.9, weight_decay: 0.001, nesterov: true}";
constexpr const char* kSeng =
    "{name: seng, lr: 0.05, damping: 0.3, trust_region: 0.01, curvature: {every: 3, samples: 14}}";
constexpr const char* kKfac =
    "{name: kfac, lr: 0.05, damping: {initial: 0.3, adaptive: {every: 2}}, trust_region: 0.01, curvature: "
    "{every: 3, "
    "samples: 14, inverse_every: 2}}";
constexpr const char* kMlp = "{name: mlp, hidden: \"16,8\"}";
constexpr const char* kResnet = "{name: resnet18, width: 4}";

std::string job_text(const std::string& optimizer, const std::string& model) {
  return "name: group\nmodel: " + model +
         "\ndata: {name: synthetic, train: 200, test: 16, channels: 2, height: 9, width: 7, classes: 5}\n"
         "batch: {global: 42, micro: 6}\nsteps: 200\nevaluate: {every_epochs: 0}\noptimizer: " +
         optimizer + "\n";
}

// All but what is its maker's own.
std::string numbers_of(StepMetrics step) {
  step.seconds = step.refresh_seconds = 0;
  step.bytes_sent = step.fragment_bytes_sent = step.curvature_bytes = 0;
  return encode(step);
}

// What an actor of a job has.
struct Actor {
  Actor(const std::string& text, ActorId id, const std::string& endpoint, int lane_count, double stall_s = 10)
      : self(id), lanes(lane_count), spec(*parse_job_spec(text, "test")), workload(*load_workload(spec)) {
    state = TrainState::initial(workload);
    auto opened =
        StateTransfer::open({.endpoint = endpoint, .token = "secret", .stall_s = stall_s}, workload, state);
    EXPECT_TRUE(opened) << opened.error().message;
    transfer = *std::move(opened);
  }
  const ActorId self;
  Lanes lanes;
  JobSpec spec;
  Workload workload;
  TrainState state;
  Gauges gauges;
  std::unique_ptr<StateTransfer> transfer;
};

// Trains alone, between two steps of its choice.
struct TrainingMember : Actor {
  TrainingMember(const std::string& text, const std::vector<Member>& members, WarmUpLimits limits = {})
      : Actor(text, 0, members[0].state_endpoint, 2),
        service({.server = &transfer->server(),
                 .workload = &workload,
                 .state = &state,
                 .lanes = &lanes,
                 .limits = limits}) {
    for (int i = 0; i < 2; ++i) replicas.emplace_back(workload.network, replica_options(spec));
    ZmqExchangeOptions options;
    options.step.block_floats = block_floats(workload.network.blocks());
    exchange = *ZmqExchange::open(std::move(options));
    trainer = std::make_unique<Trainer>(
        Trainer::Parts{.workload = &workload,
                       .state = &state,
                       .exchange = exchange.get(),
                       .lanes = &lanes,
                       .replicas = &replicas,
                       .ledger = nullptr,
                       .event = [](const std::string&, const std::string& what) { ADD_FAILURE() << what; },
                       .gauges = &gauges,
                       .committed = [this](const StepComplete& step) { service.committed(step); }});
    group = make_group(1, 0, kEpoch, workload, {members[0]});
    group.members[0].last_micro = spec.micro_batches();
    EXPECT_TRUE(exchange->join(group));
    trainer->set_group(group);
    EXPECT_TRUE(transfer->take_over(kEpoch));
  }
  void train(int steps, bool park = false) {
    for (int i = 0; i < steps; ++i) {
      service.renew();
      const auto done = trainer->step({.park = park && i + 1 == steps});
      ASSERT_TRUE(done) << trainer->interruption();
      EXPECT_EQ(encode(state.metrics), numbers_of(done->metrics)) << "step " << state.step;
      state.metrics = done->metrics;
      state.tally.add(done->metrics.loss, done->metrics.accuracy, 0.1);
      if (workload.ends_epoch(state.step)) state.tally.closed = true;
    }
  }
  WarmUpService service;
  std::vector<Replica> replicas;
  std::unique_ptr<ZmqExchange> exchange;
  std::unique_ptr<Trainer> trainer;
  Group group;
};

struct Newcomer : Actor {
  Newcomer(const std::string& text, const std::vector<Member>& members, int lane_count = 1,
           double stall_s = 10)
      : Actor(text, 1, members[1].state_endpoint, lane_count, stall_s),
        follower({.job = 1,
                  .actor = 1,
                  .token = "secret",
                  .workload = &workload,
                  .lanes = &lanes,
                  .state = &state,
                  .transfer = transfer.get(),
                  .gauges = &gauges,
                  .patience_ms = 20}) {}
  void follow(const WarmUp& order) {
    warm = {};
    end = std::async(std::launch::async, [this, order] {
      return follower.run(
          kEpoch, order, [this] { return leave.load(); },
          [this] {
            whole_when_warm = has_its_curvature();
            warm.set_value();
          });
    });
  }
  // Of every block, for it is one of two members.
  bool has_its_curvature() const {
    return state.curvature.size() == state.curvature_steps.size() &&
           std::ranges::all_of(state.curvature, [&](const auto& held) {
             return held.second.step() == state.curvature_steps[held.first];
           });
  }
  // False: following ended before.
  bool until_warm() {
    const auto is_warm = warm.get_future();
    while (is_warm.wait_for(std::chrono::milliseconds(1)) != std::future_status::ready)
      if (end.wait_for(std::chrono::seconds(0)) == std::future_status::ready) return false;
    return true;
  }
  Follower::End leave_when_warm() {
    until_warm();
    leave = true;
    follower.interrupt();
    const Follower::End left = end.get();
    leave = false;
    return left;
  }
  Follower follower;
  std::atomic<bool> leave{false};
  bool whole_when_warm = false;
  std::promise<void> warm;
  std::future<Follower::End> end;
};

struct WarmUpTest : ::testing::Test {
  WarmUpTest() {
    for (ActorId i = 0; i < 2; ++i) {
      const std::string endpoint = "ipc://" + directory.path() + "/s" + std::to_string(i);
      members.push_back({i, "node", "", 0, 0, endpoint});
    }
    order = {.number = 7, .source = 0, .newcomers = {1}, .members = {members[0]}, .future = members};
  }
  testing::TempDir directory;
  std::vector<Member> members;
  WarmUp order;
};

void expect_same(const TrainState& is, const TrainState& should_be) {
  EXPECT_EQ(is.step, should_be.step);
  EXPECT_EQ(is.parameters, should_be.parameters);
  EXPECT_EQ(is.momentum, should_be.momentum);
  EXPECT_EQ(is.statistics, should_be.statistics);
  EXPECT_EQ(is.curvature_steps, should_be.curvature_steps);
  EXPECT_EQ(is.curvature_lambdas, should_be.curvature_lambdas);
  EXPECT_EQ(is.damping, should_be.damping);
  EXPECT_EQ(is.loss_scale, should_be.loss_scale);
  EXPECT_EQ(is.tally.loss, should_be.tally.loss);
  EXPECT_EQ(is.tally.accuracy, should_be.tally.accuracy);
  EXPECT_EQ(is.tally.steps, should_be.tally.steps);
  EXPECT_EQ(is.tally.closed, should_be.tally.closed);
  EXPECT_EQ(encode(is.metrics), numbers_of(should_be.metrics));
}

class Followed : public WarmUpTest,
                 public ::testing::WithParamInterface<std::pair<const char*, const char*>> {};

TEST_P(Followed, ItComesToTheMembersBits) {
  const std::string text = job_text(GetParam().first, GetParam().second);
  TrainingMember member(text, members);
  Newcomer newcomer(text, members, 3);
  newcomer.follow(order);  // may be before the member has heard of it
  member.train(4);
  member.service.begin(order, member.group);
  member.train(1);
  // It may be a step behind, and no more.
  ASSERT_TRUE(newcomer.until_warm()) << newcomer.follower.why();
  member.train(5);
  member.train(1, true);
  ASSERT_EQ(newcomer.end.get(), Follower::End::kLastStep) << newcomer.follower.why();
  EXPECT_EQ(newcomer.follower.followed(), 7u);
  expect_same(newcomer.state, member.state);
  // Of curvature it has what the membership to come places with it, but for what a last step has renewed:
  // both members keep every block.
  if (!member.workload.second_order) return;
  EXPECT_EQ(newcomer.state.curvature.size(), member.state.curvature.size());
  for (const auto& [block, curvature] : newcomer.state.curvature)
    EXPECT_EQ(curvature.digest(), member.state.curvature.at(block).digest()) << block;
}
INSTANTIATE_TEST_SUITE_P(Jobs, Followed,
                         ::testing::Values(std::pair{kSgd, kMlp}, std::pair{kSeng, kMlp},
                                           std::pair{kSeng, kResnet}, std::pair{kKfac, kMlp}));

TEST_F(WarmUpTest, AnotherOrderGoesOnWhereItWas) {
  const std::string text = job_text(kSeng, kMlp);
  TrainingMember member(text, members);
  Newcomer newcomer(text, members);
  member.service.begin(order, member.group);
  newcomer.follow(order);
  member.train(3);
  ASSERT_EQ(newcomer.leave_when_warm(), Follower::End::kLeft);
  order.number = 8;
  member.service.begin(order, member.group);
  member.train(3, true);
  newcomer.follow(order);
  ASSERT_EQ(newcomer.end.get(), Follower::End::kLastStep) << newcomer.follower.why();
  EXPECT_EQ(newcomer.follower.followed(), 6u);
  expect_same(newcomer.state, member.state);
}

TEST_F(WarmUpTest, WhoPullsAStateKnowsTheStepsNumbers) {
  const std::string text = job_text(kKfac, kMlp);
  TrainingMember member(text, members);
  Newcomer newcomer(text, members);
  member.train(4);
  Assign assign{.base_step = 4, .holders = {0}, .curvature = {}, .lineage = {}};
  for (const HeldCurvature& held : member.transfer->held())
    assign.curvature.push_back({held.block, held.step, {0}});
  const Group group = make_group(1, 1, {1, 5}, newcomer.workload, members);
  member.transfer->begin();
  member.transfer->offer(assign, group.epoch);
  const auto pulled = newcomer.transfer->pull(assign, group, members);
  ASSERT_TRUE(pulled) << pulled.error().message;
  EXPECT_FALSE(pulled->lost || pulled->interrupted);
  expect_same(newcomer.state, member.state);
  EXPECT_GT(member.state.metrics.seconds, 0);
  // It offers the same bytes as the one who made the step: both are asked.
  Actor third(text, 2, "ipc://" + directory.path() + "/s2", 1);
  newcomer.transfer->offer(assign, group.epoch);
  Group three = group;
  three.self = 2;
  assign.holders = {0, 1};
  const auto both = third.transfer->pull(assign, three, members);
  ASSERT_TRUE(both) << both.error().message;
  expect_same(third.state, member.state);
}

TEST_F(WarmUpTest, OneThatIsTooFarBehindGivesUp) {
  const std::string text = job_text(kSgd, kMlp);
  TrainingMember member(text, members, {.record_bytes = 0, .records_min = 2});
  Newcomer newcomer(text, members);
  member.service.begin(order, member.group);
  newcomer.follow(order);
  member.train(1);
  ASSERT_EQ(newcomer.leave_when_warm(), Follower::End::kLeft);
  // More than it asks ahead.
  member.train(100);
  newcomer.follow(order);
  ASSERT_EQ(newcomer.end.get(), Follower::End::kGaveUp);
  EXPECT_NE(newcomer.follower.why().find("step cannot be had"), std::string::npos) << newcomer.follower.why();
  // What it has is the state of a step, whole.
  TrainingMember again(text, members);
  again.train(static_cast<int>(newcomer.state.step));
  expect_same(newcomer.state, again.state);
}

// The group's step may take longer than anybody wants to wait.
TEST_F(WarmUpTest, ItIsWarmInTheMiddleOfALongStep) {
  const std::string text = job_text(kSeng, kMlp);
  TrainingMember member(text, members);
  Newcomer newcomer(text, members);
  member.train(2);
  member.service.begin(order, member.group);
  newcomer.follow(order);
  ASSERT_TRUE(newcomer.until_warm()) << newcomer.follower.why();  // no step is made meanwhile
  member.train(1, true);
  ASSERT_EQ(newcomer.end.get(), Follower::End::kLastStep) << newcomer.follower.why();
  expect_same(newcomer.state, member.state);
}

TEST_F(WarmUpTest, TheEndOfTheMembershipEndsIt) {
  const std::string text = job_text(kSeng, kMlp);
  TrainingMember member(text, members);
  Newcomer newcomer(text, members);
  member.service.begin(order, member.group);
  newcomer.follow(order);
  member.train(2);
  ASSERT_TRUE(newcomer.until_warm()) << newcomer.follower.why();
  member.transfer->begin();
  EXPECT_EQ(newcomer.end.get(), Follower::End::kGaveUp);
}

TEST_F(WarmUpTest, NobodyToFollowIsLeftWhenAsked) {
  Newcomer newcomer(job_text(kSgd, kMlp), members);
  newcomer.follow(order);
  newcomer.leave = true;
  newcomer.follower.interrupt();
  EXPECT_EQ(newcomer.end.get(), Follower::End::kLeft);
  EXPECT_EQ(newcomer.state.step, 0u);
}

// A refresh while its curvature is pulled lets go what it asks for: it takes the step that says so first.
TEST_F(WarmUpTest, ItIsNotWarmWithoutTheCurvatureThatWasRenewedMeanwhile) {
  const std::string text = job_text(kSeng, kMlp);
  TrainingMember member(text, members);
  Newcomer newcomer(text, members);
  member.train(2);
  member.service.begin(order, member.group);
  member.train(3);  // renews at step 4; the snapshot is of step 2
  newcomer.follow(order);
  ASSERT_TRUE(newcomer.until_warm()) << newcomer.follower.why();
  EXPECT_TRUE(newcomer.whole_when_warm);
  member.train(1, true);
  ASSERT_EQ(newcomer.end.get(), Follower::End::kLastStep) << newcomer.follower.why();
  expect_same(newcomer.state, member.state);
}

// Holders in the middle of a long step do not know yet that they are to serve it.
TEST_F(WarmUpTest, HoldersThatHaveNotHeardOfItAreAskedAgain) {
  const std::string text = job_text(kSeng, kMlp);
  TrainingMember member(text, members);
  Newcomer newcomer(text, members, 1, 0.3);
  member.train(2);
  WarmUp without = order;
  without.future = {members[0]};  // so that no curvature is offered
  member.service.begin(without, member.group);
  newcomer.follow(order);
  EXPECT_EQ(newcomer.end.wait_for(std::chrono::seconds(1)), std::future_status::timeout)
      << newcomer.follower.why();
  member.service.begin(order, member.group);
  ASSERT_TRUE(newcomer.until_warm()) << newcomer.follower.why();
  EXPECT_TRUE(newcomer.whole_when_warm);
  member.train(1, true);
  ASSERT_EQ(newcomer.end.get(), Follower::End::kLastStep) << newcomer.follower.why();
  expect_same(newcomer.state, member.state);
}

// The word that a command comes is there before the command.
TEST_F(WarmUpTest, AnInterruptionThatAsksNothingDoesNotEndIt) {
  const std::string text = job_text(kSeng, kMlp);
  TrainingMember member(text, members);
  Newcomer newcomer(text, members);
  newcomer.follow(order);
  for (int i = 0; i < 300; ++i) {
    newcomer.follower.interrupt();
    std::this_thread::yield();
  }
  member.service.begin(order, member.group);
  member.train(2);
  ASSERT_TRUE(newcomer.until_warm()) << newcomer.follower.why();
  newcomer.follower.interrupt();
  member.train(1, true);
  ASSERT_EQ(newcomer.end.get(), Follower::End::kLastStep) << newcomer.follower.why();
  expect_same(newcomer.state, member.state);
}

std::size_t open_files() {
  std::size_t count = 0;
  for ([[maybe_unused]] const auto& each : std::filesystem::directory_iterator("/proc/self/fd")) ++count;
  return count;
}

TEST_F(WarmUpTest, WhatFollowingTookIsLetGoWithTheMembership) {
  const std::string text = job_text(kSgd, kMlp);
  TrainingMember member(text, members);
  Newcomer newcomer(text, members);
  member.service.begin(order, member.group);
  newcomer.follow(order);
  member.train(2, true);
  ASSERT_EQ(newcomer.end.get(), Follower::End::kLastStep);
  const std::uint64_t bytes = newcomer.follower.bytes();
  const std::size_t files = open_files();
  newcomer.follower.end();
  EXPECT_LT(open_files(), files);
  EXPECT_EQ(newcomer.follower.bytes(), bytes);
}

TEST_F(WarmUpTest, CurvatureThatNobodyAsksForAnyMoreIsLetGo) {
  const std::string text = job_text(kSeng, kMlp);
  TrainingMember member(text, members);
  member.train(1);
  member.service.begin(order, member.group);
  const std::weak_ptr<const void> offered = member.state.curvature.at(0).versions().at(0).owner;
  order.number = 8;
  order.future = {members[0]};
  member.service.begin(order, member.group);
  member.train(4);  // renewed
  for (int i = 0; i < 10000 && !offered.expired(); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  EXPECT_TRUE(offered.expired());
}

// What nobody follows is not kept.
TEST_F(WarmUpTest, WithoutNewcomersItIsOver) {
  const std::string text = job_text(kSeng, kMlp);
  TrainingMember member(text, members);
  Newcomer newcomer(text, members);
  member.service.begin(order, member.group);
  newcomer.follow(order);
  member.train(2);
  ASSERT_TRUE(newcomer.until_warm()) << newcomer.follower.why();
  order.newcomers.clear();
  member.service.begin(order, member.group);
  member.train(2);
  newcomer.leave = true;
  newcomer.follower.interrupt();
  // It has left, or has been told that what it still asked for is not kept.
  EXPECT_NE(newcomer.end.get(), Follower::End::kLastStep);
  EXPECT_LE(newcomer.state.step, 2u);
}

}  // namespace
}  // namespace seng::warm_up_test
