// A replica on a GPU that is asked for cut factors hands out fragments: those that the host would make of its
// whole factors, whose bytes then stay where they are.
#include <cmath>
#include <map>
#include <random>

#include <gtest/gtest.h>

#include "actors/nn/network.h"
#include "actors/optim/fragment.h"
#include "tests/actors/nn/recorder.h"
#include "tests/parity/emulated_count.h"
#include "tests/parity/machine.h"
#include "tests/parity/require_cuda.h"

namespace seng::testing::factor_cuts_test {
namespace {

constexpr int kMicro = 3, kFactorSamples = 2;
constexpr std::uint32_t kMicroBatches = 4;  // before the one in hand

// Two convolutions that are cut, one with a bias, and one that stays whole.
Network network() {
  const std::vector<LayerSpec> layers = {
      {"conv1", "conv2d", {}, {{"channels", "16"}, {"kernel", "3"}, {"padding", "1"}}},
      {"bn1", "batch_norm", {}, {}},
      {"relu1", "relu", {}, {}},
      {"conv2",
       "conv2d",
       {},
       {{"channels", "18"}, {"kernel", "3"}, {"padding", "1"}, {"stride", "2"}, {"bias", "false"}}},
      {"relu2", "relu", {}, {}},
      {"conv3", "conv2d", {}, {{"channels", "4"}, {"kernel", "1"}}},
      {"flat", "flatten", {}, {}},
      {"fc", "linear", {}, {{"features", "10"}}}};
  auto made = Network::create(layers, {3, 8, 8}, 10);
  SENG_CHECK(made.has_value(), "a network of the test");
  return *made;
}

std::vector<FactorCut> cuts_of(const Network& network, bool halves = false) {
  std::vector<FactorCut> cuts;
  for (const Block& block : network.blocks())
    cuts.push_back(block.name == "conv1" || block.name == "conv2" ? FactorCut{2, halves} : FactorCut{});
  return cuts;
}

struct Sink final : BackwardSink {
  explicit Sink(const Network& of) : network(of) {}
  void on_factors(std::size_t block, const SampleFactors& factors) override {
    const FactorSizes sizes = factor_sizes(network.blocks()[block]);
    EXPECT_EQ(factors.samples, kFactorSamples);
    inputs[block].assign(factors.activations, factors.activations + kFactorSamples * sizes.activations);
    gradients[block].assign(factors.gradients, factors.gradients + kFactorSamples * sizes.gradients);
  }
  void on_cut_factors(std::size_t block, std::span<const float> words) override {
    cut[block].assign(words.begin(), words.end());
  }
  void on_gradient(std::size_t block, std::span<const float> gradient, std::span<const float>) override {
    sums[block].assign(gradient.begin(), gradient.end());
  }
  const Network network;
  std::map<std::size_t, Values> inputs, gradients, cut, sums;
};

class FactorCuts : public ::testing::Test {
 protected:
  FactorCuts() {
    options_.device = Device::kCuda;
    options_.micro_batch = kMicro;
    Random random(seed_, RandomPurpose::kSynthetic);
    images_ = normal(random, kMicro * 3 * 8 * 8);
    batch_ = {kMicro, images_.data(), labels_, seed_, 7, kMicroBatches * kMicro};
  }
  // One pass with factors, after one without.
  Sink pass(const ReplicaOptions& options) {
    Replica replica(network_, options);
    replica.load(weights_.parameters, weights_.statistics);
    Sink sink(network_);
    for (const int samples : {0, kFactorSamples}) {
      if (replica.adds_up()) replica.begin_sum({0});
      replica.train(batch_, samples, sink);
    }
    return sink;
  }
  static double energy(const Values& values, std::size_t begin) {
    double sum = 0;
    for (std::size_t i = begin; i < values.size(); ++i) sum += double(values[i]) * values[i];
    return sum;
  }

  const std::uint64_t seed_ = std::random_device()();
  const ::testing::ScopedTrace trace_{__FILE__, __LINE__, "seed " + std::to_string(seed_)};
  const Network network_ = network();
  const reference::Weights weights_ = reference::random_weights(network_, seed_);
  const std::int32_t labels_[kMicro] = {1, 2, 9};
  ReplicaOptions options_;
  Values images_;
  MicroBatch batch_;
};

TEST_F(FactorCuts, AreTheFragmentsThatTheHostMakes) {
  for (const auto& [precision, scale] :
       {std::pair{Arithmetic::kF32, 1.0f}, {Arithmetic::kBf16, 1.0f}, {Arithmetic::kF16, 64.0f}}) {
    SENG_REQUIRE_CUDA(precision);
    SCOPED_TRACE(arithmetic_name(precision));
    options_.precision = precision;
    batch_.loss_scale = scale;
    options_.cuts = {};
    Sink whole = pass(options_);
    EXPECT_TRUE(whole.cut.empty());
    options_.cuts = cuts_of(network_);
    Sink cut = pass(options_);
    EXPECT_EQ(cut.sums, whole.sums);
    ASSERT_EQ(cut.cut.size(), 2u);
    for (std::size_t b = 0; b < network_.blocks().size(); ++b) {
      const Block& block = network_.blocks()[b];
      if (options_.cuts[b].rank == 0) {
        EXPECT_EQ(cut.inputs[b], whole.inputs[b]) << block.name;
        EXPECT_EQ(cut.gradients[b], whole.gradients[b]) << block.name;
        continue;
      }
      EXPECT_FALSE(cut.gradients.contains(b)) << block.name;
      const FragmentShape shape = fragment_shape(block, {Representation::kLowRank, 2}, kFactorSamples);
      const Values expected =
          make_fragment(block, shape, {kFactorSamples, whole.inputs[b].data(), whole.gradients[b].data()},
                        {seed_, 7, std::uint32_t(b), kMicroBatches * kFactorSamples});
      ASSERT_EQ(cut.cut[b].size(), expected.size());
      // What is held of the two gradients depends on the random numbers that the search began with.
      const std::size_t begin = kFactorSamples * sample_size(block, shape.form).first;
      const double held = energy(expected, begin);
      EXPECT_NEAR(energy(cut.cut[b], begin), held, 1e-4 * held) << block.name;
    }
  }
}

TEST_F(FactorCuts, HaveTheSameBitsOnEveryWay) {
  SENG_REQUIRE_CUDA(Arithmetic::kF32);
  options_.cuts = cuts_of(network_, true);
  const auto cut = pass(options_).cut;
  ASSERT_EQ(cut.size(), 2u);
  EXPECT_EQ(pass(options_).cut, cut);
  options_.sums_held = 2;
  EXPECT_EQ(pass(options_).cut, cut);
  options_.graphs = false;
  EXPECT_EQ(pass(options_).cut, cut);
  options_.checkpoint_activations = true;
  EXPECT_EQ(pass(options_).cut, cut);
}

// Where gradients are added up factors leave behind the pass, cut ones and whole ones, after one wait.
TEST_F(FactorCuts, AreWaitedForTogether) {
  for (const auto& [precision, scale] :
       {std::pair{Arithmetic::kF32, 1.0f}, {Arithmetic::kBf16, 1.0f}, {Arithmetic::kF16, 64.0f}}) {
    SENG_REQUIRE_CUDA(precision);
    SCOPED_TRACE(arithmetic_name(precision));
    options_.precision = precision;
    batch_.loss_scale = scale;
    options_.cuts = cuts_of(network_);
    options_.sums_held = 0;
    const Sink apart = pass(options_);
    options_.sums_held = 1;
    const Sink together = pass(options_);
    EXPECT_EQ(together.cut, apart.cut);
    EXPECT_EQ(together.inputs, apart.inputs);
    EXPECT_EQ(together.gradients, apart.gradients);
    EXPECT_EQ(together.sums, apart.sums);
    if (!emulated()) continue;  // only that one counts
    Replica replica(network_, options_);
    replica.load(weights_.parameters, weights_.statistics);
    Sink sink(network_);
    std::uint64_t waits = 0;
    for (int step = 0; step < 3; ++step) {
      const std::uint64_t before = emulated_count("waits");
      replica.begin_sum({0}, Replica::SumGoes::kStays);
      replica.train(batch_, kFactorSamples, sink);
      waits = emulated_count("waits") - before;
    }
    EXPECT_LE(waits, 2u);  // for these, and for the loss
  }
}

TEST_F(FactorCuts, OnTheCpuTheyAreWhole) {
  options_.device = Device::kCpu;
  const auto whole = pass(options_).gradients;
  options_.cuts = cuts_of(network_);
  Sink cut = pass(options_);
  EXPECT_TRUE(cut.cut.empty());
  EXPECT_EQ(cut.gradients, whole);
}

TEST_F(FactorCuts, WhatTheyAreCutFromStaysOnTheGpu) {
  if (!emulated()) GTEST_SKIP() << "only the emulated GPU counts";
  std::uint64_t bytes[2];
  for (const bool cuts : {false, true}) {
    options_.cuts = cuts ? cuts_of(network_, true) : std::vector<FactorCut>();
    const std::uint64_t before = emulated_count("bytes_to_host");
    pass(options_);
    bytes[cuts] = emulated_count("bytes_to_host") - before;
  }
  std::uint64_t saved = 0;
  for (std::size_t b = 0; b < options_.cuts.size(); ++b) {
    if (options_.cuts[b].rank == 0) continue;
    const FactorSizes raw = factor_sizes(network_.blocks()[b]);
    const std::size_t words = LowRankPlan::of(network_.blocks()[b], options_.cuts[b], kFactorSamples).words();
    saved += (kFactorSamples * (raw.activations + raw.gradients) - words) * sizeof(float);
  }
  EXPECT_GT(saved, 0u);
  EXPECT_EQ(bytes[0] - bytes[1], saved);
}

TEST_F(FactorCuts, AllocateNothingOnceTheyHaveBeenMade) {
  if (!emulated()) GTEST_SKIP() << "only the emulated GPU counts";
  options_.sums_held = 2;
  options_.cuts = cuts_of(network_, true);
  Replica replica(network_, options_);
  replica.load(weights_.parameters, weights_.statistics);
  std::uint64_t before = 0;
  for (int step = 0; step < 5; ++step) {
    if (step == 3) before = emulated_count("allocations");
    Sink sink(network_);
    for (const int samples : {kFactorSamples, 0}) {
      replica.begin_sum({0});
      replica.train(batch_, samples, sink);
    }
    EXPECT_EQ(sink.cut.size(), 2u);
  }
  EXPECT_GT(before, 0u);
  EXPECT_EQ(emulated_count("allocations"), before);
  EXPECT_EQ(replica.graph_shortfall(), "");
}

}  // namespace
}  // namespace seng::testing::factor_cuts_test
