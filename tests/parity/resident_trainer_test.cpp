// An actor that is alone trains on the GPU what it trains with a step's vectors on the host, bit for bit, and
// takes no more of a step to the host than a few numbers.
#include <cstdlib>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "actors/exchange/placement.h"
#include "actors/exchange/zmq_exchange.h"
#include "actors/kept_curvature.h"
#include "actors/sample_devices.h"
#include "actors/trainer.h"
#include "tests/parity/emulated_count.h"
#include "tests/parity/require_cuda.h"

namespace seng::resident_trainer_test {
namespace {

using testing::emulated;
using testing::emulated_count;

std::string job_text(const std::string& optimizer, const std::string& rest) {
  return "name: alone\n"
         "model: {layers: [{name: conv1, type: conv2d, channels: 3, kernel: 3, padding: 1}, {name: bn1, "
         "type: "
         "batch_norm}, {name: relu1, type: relu}, {name: flat, type: flatten}, {name: fc, type: linear, "
         "features: 10}]}\n"
         "data: {name: synthetic, train: 70, test: 16, channels: 2, height: 5, width: 4, classes: 10}\n"
         "steps: 4\noptimizer: " +
         optimizer + "\n" + (rest.empty() ? "batch: {global: 14, micro: 2}\n" : rest);
}

struct Trained {
  std::vector<float> parameters, momentum, statistics;
  std::vector<std::string> curvature;
  std::vector<double> losses, cosines, scales;
  std::vector<std::uint64_t> copied;  // bytes to the host, per step; emulated
  std::vector<std::string> events;
  bool operator==(const Trained& other) const {
    return parameters == other.parameters && momentum == other.momentum && statistics == other.statistics &&
           curvature == other.curvature && losses == other.losses && cosines == other.cosines &&
           scales == other.scales;
  }
};

// Where each step goes: 'a' alone, 'f' with somebody who follows, 'i' alone, interrupted and made again; 'x'
// alone, on a GPU that has no memory left.
Trained train(const std::string& text, const std::string& ways, bool on_one_stream = false) {
  Workload workload = *load_workload(*parse_job_spec(text, "test"));
  if (!make_sample_devices(workload, Device::kCuda)) throw VendorError("no streams");
  if (on_one_stream) std::ranges::fill(workload.sample_devices, workload.sample_device(0));
  Lanes lanes(1);
  ReplicaOptions options = replica_options(workload.spec);
  options.device = Device::kCuda;
  options.cuts = factor_cuts(workload);
  options.sums_held = held_sums(workload, 1);
  std::vector<Replica> replicas;
  replicas.emplace_back(workload.network, options);
  TrainState state = TrainState::initial(workload);
  ZmqExchangeOptions of_exchange;
  of_exchange.step.block_floats = block_floats(workload.network.blocks());
  const auto exchange = *ZmqExchange::open(std::move(of_exchange));
  Gauges gauges;
  Trained out;
  Trainer trainer({.workload = &workload,
                   .state = &state,
                   .exchange = exchange.get(),
                   .lanes = &lanes,
                   .replicas = &replicas,
                   .ledger = nullptr,
                   .event = [&](const std::string& kind, const std::string&) { out.events.push_back(kind); },
                   .gauges = &gauges});
  const std::uint32_t micros = workload.spec.micro_batches();
  Group group{.job = 1, .epoch = {1, 1}, .self = 0, .micro_batches = micros};
  group.members.push_back({0, "node", "", 0, micros});
  group.placement = place_blocks(workload.network.blocks(), group.members);
  EXPECT_TRUE(exchange->join(group));
  trainer.set_group(group);

  for (const char way : ways) {
    if (way == 'i') {
      exchange->interrupt("by the test");
      EXPECT_FALSE(trainer.step({}));
      EXPECT_EQ(trainer.interruption(), "by the test");
      trainer.bring_home();
      ++group.epoch.counter;
      EXPECT_TRUE(exchange->join(group));
      trainer.set_group(group);
    }
    if (way == 'x') setenv("SENG_EMULATED_GPU_MIB", "1", 1);
    const std::uint64_t before = emulated() ? emulated_count("bytes_to_host") : 0;
    const auto step = trainer.step({.followed = way == 'f'});
    EXPECT_TRUE(step) << trainer.interruption();
    if (!step) break;
    if (emulated()) out.copied.push_back(emulated_count("bytes_to_host") - before);
    out.losses.push_back(step->metrics.loss);
    out.cosines.push_back(step->metrics.cosine);
    out.scales.push_back(step->metrics.trust_scale);
  }
  unsetenv("SENG_EMULATED_GPU_MIB");
  trainer.bring_home();
  out.parameters = state.parameters, out.momentum = state.momentum, out.statistics = state.statistics;
  for (const auto& [block, curvature] : state.curvature)
    out.curvature.push_back(to_hex(digest_of(keep_curvature(curvature))));
  return out;
}

struct Case {
  std::string name, optimizer, rest;
  friend void PrintTo(const Case& one, std::ostream* out) { *out << one.name; }
};

class ResidentTrainer : public ::testing::TestWithParam<Case> {
 protected:
  void SetUp() override { SENG_REQUIRE_CUDA(Arithmetic::kF32); }
};

TEST_P(ResidentTrainer, TrainsTheSameBitsOnEitherWay) {
  const std::string text = job_text(GetParam().optimizer, GetParam().rest);
  const Trained followed = train(text, "ffff"), alone = train(text, "aaaa");
  ASSERT_EQ(followed.losses.size(), 4u);
  for (const double loss : followed.losses) EXPECT_TRUE(std::isfinite(loss));
  EXPECT_NE(followed.losses.front(), followed.losses.back());
  EXPECT_EQ(alone, followed);
  if (GetParam().name == "seng") {
    EXPECT_EQ(train(text, "aafa", true), followed);
  }
  EXPECT_EQ(train(text, "iafi"), followed);  // newcomers come and go, and the membership ends in a step
  EXPECT_THAT(alone.events, ::testing::IsEmpty());
  if (!emulated()) return;  // only that one counts
  // Of a step that renews nothing and in which nothing is formed: a micro-batch's losses and hits, three
  // floats a block.
  EXPECT_LT(alone.copied[2], 66 * 64 + 3 * 64 * sizeof(float));
  EXPECT_GT(followed.copied[2], followed.parameters.size() * sizeof(float));
}

TEST(ResidentTrainerWithoutRoom, GoesTheOtherWayAndSaysSoOnce) {
  if (!emulated()) GTEST_SKIP() << "only the emulated GPU can be made small";
  std::string text = job_text("{name: sgd, lr: 0.05, momentum: 0.9}", "batch: {global: 14, micro: 14}\n");
  const std::string flat = "{name: flat, type: flatten}, ";
  text.insert(text.find(flat) + flat.size(), "{name: wide, type: linear, features: 18000}, ");  // of 4 MiB
  const Trained without = train(text, "fxx");
  EXPECT_THAT(without.events, ::testing::ElementsAre("StateOnHost"));
  EXPECT_EQ(without, train(text, "fff"));
}

INSTANTIATE_TEST_SUITE_P(
    Optimizers, ResidentTrainer,
    ::testing::Values(
        Case{"sgd_of_one_micro_batch",
             "{name: sgd, lr: 0.05, momentum: 0.9, nesterov: true, weight_decay: 0.001}",
             "batch: {global: 14, micro: 14}\n"},
        Case{"sgd_of_66_micro_batches", "{name: sgd, lr: 0.05, momentum: 0.9}",
             "batch: {global: 66, micro: 1}\n"},
        Case{"seng",
             "{name: seng, lr: 0.05, momentum: 0.9, damping: 0.3, trust_region: 0.001, curvature: {every: 3, "
             "samples: 14, batch_norm: scale}}",
             ""},
        Case{"low_rank_sketched",
             "{name: seng, lr: 0.05, damping: 0.3, trust_region: 0.001, curvature: {every: 3, samples: 14, "
             "representation: implicit, rank: 2, sketch: rows, sketch_rows: 60, dtype: bf16, fragment_dtype: "
             "bf16}}",
             ""},
        Case{"buckets_of_workers",
             "{name: seng, lr: 0.05, damping: 0.3, curvature: {every: 3, samples: 14, representation: "
             "implicit, "
             "rank: 2, product: countsketch, product_buckets: 6, sketch: countsketch, sketch_rows: 40, mode: "
             "local, workers: 7}}",
             ""},
        Case{"seng_later",
             "{name: seng, lr: 0.05, damping: 0.3, curvature: {every: 3, samples: 14, overlap: true}}", ""},
        Case{"kfac",
             "{name: kfac, lr: 0.05, damping: 0.3, trust_region: 0.001, curvature: {every: 3, samples: 14}}",
             ""},
        Case{"seng_in_f16",
             "{name: seng, lr: 0.05, damping: 0.3, trust_region: 0.001, curvature: {every: 3, samples: 14}}",
             "batch: {global: 14, micro: 2}\nengine: {precision: f16}\n"}),
    [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace seng::resident_trainer_test
