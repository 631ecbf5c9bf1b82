// Groups of actors as threads of one process, with real sockets between them: what they train must not depend
// on how many they are.
#include <barrier>
#include <filesystem>
#include <thread>

#include <gtest/gtest.h>

#include "actors/checkpoint/checkpoint.h"
#include "actors/exchange/placement.h"
#include "actors/exchange/sum_pieces.h"
#include "actors/exchange/zmq_exchange.h"
#include "actors/kept_curvature.h"
#include "actors/trainer.h"
#include "tests/support/process.h"

namespace seng::trainer_group_test {
namespace {

std::string job_text(const std::string& optimizer, const std::string& model) {
  return "name: group\nmodel: " + model +
         "\ndata: {name: synthetic, train: 200, test: 16, channels: 2, height: 9, width: 7, classes: 5}\n"
         "batch: {global: 42, micro: 6}\nsteps: 6\noptimizer: " +
         optimizer + "\n";
}

constexpr const char* kSgd = "{name: sgd, lr: 0.05, momentum: 0.9, weight_decay: 0.001}";
constexpr const char* kSeng =
    "{name: seng, lr: 0.05, damping: 0.3, trust_region: 0.01, curvature: {every: 3, samples: 14}}";

constexpr const char* kSengBf16 =
    "{name: seng, lr: 0.05, damping: 0.3, trust_region: 0.01, curvature: {every: 3, samples: 14, dtype: "
    "bf16, "
    "fragment_dtype: bf16}}";

constexpr const char* kSengLater =
    "{name: seng, lr: 0.05, damping: 0.3, trust_region: 0.01, curvature: {every: 2, samples: 14, overlap: "
    "true}}";
// Every step is a refresh, and takes the one before.
constexpr const char* kSengAlwaysLater =
    "{name: seng, lr: 0.05, damping: 0.3, curvature: {every: 1, samples: 14, overlap: true, dtype: bf16}}";
// Steps 1, 3 and 5 are tried, 2, 4 and 6 judge them; refreshes take what they come to.
constexpr const char* kAdaptiveSeng =
    "{name: seng, lr: 0.05, nesterov: true, weight_decay: 0.001, damping: {initial: 0.3, adaptive: {every: "
    "2, factor: 3}}, "
    "trust_region: 0.01, curvature: {every: 2, samples: 14}}";
constexpr const char* kAdaptiveKfac =
    "{name: kfac, lr: 0.05, damping: {initial: 0.3, adaptive: {every: 3}}, curvature: {every: 1, samples: "
    "14, "
    "inverse_every: 2}}";

// Refreshes at steps 1 and 5: what step 2 comes to is taken by the second, and until then no step is tried.
constexpr const char* kAdaptiveWaits =
    "{name: seng, lr: 0.05, damping: {initial: 0.3, adaptive: {every: 2, factor: 3}}, curvature: {every: 4, "
    "samples: 14}}";

struct MemberResult {
  std::string weights, momentum;
  DampingState damping;
  std::vector<double> ratios, cosines;
  std::map<std::uint32_t, std::string> curvature;  // of owned blocks
  std::vector<double> losses;
  std::string problem;
};

std::string hash_of(const std::vector<float>& values) {
  return to_hex(sha256(values.data(), values.size() * sizeof(float)));
}

// One member's life: what Driver does, without the daemon.
// With adds_up its replicas add the gradients of pieces for themselves, as a GPU's do.
MemberResult train(const std::string& text, std::vector<Member> members, ActorId self, int lane_count,
                   bool adds_up, std::barrier<>& resume) {
  MemberResult result;
  const auto spec = parse_job_spec(text, "test");
  if (!spec) return result.problem = spec.error().message, result;
  auto workload = load_workload(*spec);
  if (!workload) return result.problem = workload.error().message, result;
  Lanes lanes(lane_count);
  std::vector<Replica> replicas;
  ReplicaOptions options_of_replica = replica_options(*spec);
  if (adds_up) options_of_replica.sums_held = sums_held(largest_piece(spec->micro_batches(), lane_count));
  for (int i = 0; i < lane_count; ++i) replicas.emplace_back(workload->network, options_of_replica);
  TrainState state = TrainState::initial(*workload);
  ZmqExchangeOptions options;
  options.step.block_floats = block_floats(workload->network.blocks());
  options.endpoint = members.size() > 1 ? members[self].endpoint : "";
  options.token = "secret";
  auto exchange = ZmqExchange::open(std::move(options));
  if (!exchange) return result.problem = exchange.error().message, result;
  Gauges gauges;
  Trainer trainer({.workload = &*workload,
                   .state = &state,
                   .exchange = exchange->get(),
                   .lanes = &lanes,
                   .replicas = &replicas,
                   .ledger = nullptr,
                   .event = [&](const std::string&, const std::string& what) { result.problem = what; },
                   .gauges = &gauges});
  Group group{
      .job = 1, .epoch = {1, 1}, .self = self, .micro_batches = spec->micro_batches(), .members = members};
  group.placement = place_blocks(workload->network.blocks(), members);
  if (auto joined = (*exchange)->join(group); !joined) return result.problem = joined.error().message, result;
  trainer.set_group(group);
  resume.arrive_and_wait();  // nobody may begin before all have joined: the daemon's Ready and Resume
  while (state.step < workload->steps_total) {
    const auto step = trainer.step({});
    if (!step) return result.problem = trainer.interruption(), result;
    result.losses.push_back(step->metrics.loss);
    result.ratios.push_back(step->metrics.reduction_ratio);
    result.cosines.push_back(step->metrics.cosine);
    EXPECT_EQ(step->metrics.curvature_bytes > 0, workload->second_order && !state.curvature.empty());
  }
  result.weights = to_hex(weights_digest(workload->network.blocks(), state.parameters, state.statistics));
  result.momentum = hash_of(state.momentum);
  result.damping = state.damping;
  for (const auto& [block, curvature] : state.curvature)
    if (group.placement.owner[block] == self)
      result.curvature[block] = to_hex(digest_of(keep_curvature(curvature)));
  return result;
}

std::vector<MemberResult> train_group(const std::string& text, int actors, int lanes, bool adds_up = false) {
  const testing::TempDir directory;
  const auto micro = parse_job_spec(text, "test")->micro_batches();
  std::vector<Member> members;
  for (int i = 0; i < actors; ++i)
    members.push_back({static_cast<ActorId>(i), "node", "ipc://" + directory.path() + "/" + std::to_string(i),
                       micro * i / actors, micro * (i + 1) / actors});
  std::vector<MemberResult> results(actors);
  std::barrier<> resume(actors);
  std::vector<std::thread> threads;
  for (int i = 0; i < actors; ++i)
    threads.emplace_back(
        [&, i] { results[i] = train(text, members, static_cast<ActorId>(i), lanes, adds_up, resume); });
  for (std::thread& thread : threads) thread.join();
  return results;
}

class TrainerGroup : public ::testing::TestWithParam<std::pair<const char*, const char*>> {};

TEST_P(TrainerGroup, TrainsTheSameBitsInAnyNumber) {
  const std::string text = job_text(GetParam().first, GetParam().second);
  const std::vector<MemberResult> alone = train_group(text, 1, 1);
  ASSERT_EQ(alone[0].problem, "");
  ASSERT_EQ(alone[0].losses.size(), 6u);
  for (const double loss : alone[0].losses) ASSERT_TRUE(std::isfinite(loss));
  const JobSpec spec = *parse_job_spec(text, "test");
  const std::uint32_t every = spec.optimizer.adaptive.every, refreshes = spec.optimizer.curvature.every;
  bool tried = false, waits = false, waited = false;
  for (std::size_t i = 0; i < 6; ++i) {
    const double ratio = alone[0].ratios[i];
    const bool judges = every > 0 && (i + 1) % every == 0;
    EXPECT_EQ(ratio != 0, judges && tried) << i;
    if (i % refreshes == 0) waits = false;
    if (judges && tried && (ratio > 0.75 || ratio < 0.25)) waits = true;
    if (every > 0 && (i + 2) % every == 0) tried = !waits, waited |= waits;
    EXPECT_GT(alone[0].cosines[i], 0);
    const bool in_force = has_curvature(spec.optimizer.name) && (i > 0 || !spec.optimizer.curvature.overlap);
    EXPECT_LT(alone[0].cosines[i], in_force ? 0.9999 : 1.0001);
  }
  EXPECT_EQ(waited, every > 0 && every < refreshes);
  for (const auto& [actors, lanes] :
       std::vector<std::pair<int, int>>{{1, 3}, {2, 1}, {3, 2}, {5, 1}, {7, 1}}) {
    std::map<std::uint32_t, std::string> curvature;
    for (const MemberResult& member : train_group(text, actors, lanes)) {
      ASSERT_EQ(member.problem, "") << actors << "x" << lanes;
      EXPECT_EQ(member.weights, alone[0].weights) << actors << "x" << lanes;
      EXPECT_EQ(member.momentum, alone[0].momentum) << actors << "x" << lanes;
      EXPECT_EQ(member.damping, alone[0].damping) << actors << "x" << lanes;
      EXPECT_EQ(member.ratios, alone[0].ratios) << actors << "x" << lanes;
      EXPECT_EQ(member.cosines, alone[0].cosines) << actors << "x" << lanes;
      EXPECT_EQ(member.losses, alone[0].losses) << actors << "x" << lanes;
      curvature.insert(member.curvature.begin(), member.curvature.end());
    }
    EXPECT_EQ(curvature, alone[0].curvature) << actors << "x" << lanes;
  }
}

// Lanes whose devices add take pieces, not micro-batches; V = 7 is no power of two.
TEST(TrainerGroupThatAddsUp, TrainsTheSameBitsInAnyNumber) {
  for (const char* model :
       {"{name: mlp, hidden: \"16,8\"}",
        "{layers: [{name: conv, type: conv2d, channels: 3, kernel: 3}, {name: bn, type: batch_norm}, {name: "
        "relu, type: relu}, {name: flat, type: flatten}, {name: fc, type: linear, features: 5}]}"}) {
    const std::string text = job_text(kSeng, model);
    const std::vector<MemberResult> alone = train_group(text, 1, 1);
    ASSERT_EQ(alone[0].problem, "");
    for (const auto& [actors, lanes] :
         std::vector<std::pair<int, int>>{{1, 1}, {1, 2}, {1, 3}, {2, 1}, {3, 2}}) {
      for (const MemberResult& member : train_group(text, actors, lanes, true)) {
        ASSERT_EQ(member.problem, "") << actors << "x" << lanes;
        EXPECT_EQ(member.weights, alone[0].weights) << actors << "x" << lanes;
        EXPECT_EQ(member.momentum, alone[0].momentum) << actors << "x" << lanes;
        EXPECT_EQ(member.losses, alone[0].losses) << actors << "x" << lanes;
      }
    }
  }
}

constexpr const char* kMlp = "{name: mlp, hidden: \"16,8\"}";
INSTANTIATE_TEST_SUITE_P(Optimizers, TrainerGroup,
                         ::testing::Values(std::pair{kSgd, kMlp}, std::pair{kSeng, kMlp},
                                           std::pair{kSengBf16, kMlp}, std::pair{kSengLater, kMlp},
                                           std::pair{kSengAlwaysLater, kMlp}, std::pair{kAdaptiveSeng, kMlp},
                                           std::pair{kAdaptiveKfac, kMlp}, std::pair{kAdaptiveWaits, kMlp}));

}  // namespace
}  // namespace seng::trainer_group_test
