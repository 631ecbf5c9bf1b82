// A step allocates nothing: neither a micro-batch's passes nor, once two refreshes have been, the optimizer's
// products. Counted on the emulated GPU.
#include "tests/actors/nn/recorder.h"
#include "tests/parity/emulated_count.h"
#include "tests/parity/machine.h"
#include "tests/parity/require_cuda.h"

namespace seng::testing {
namespace {

using reference::Recorder;

std::uint64_t allocations() {
  return emulated_count("allocations");
}

TEST(Allocations, AStepMakesNone) {
  if (!emulated()) GTEST_SKIP() << "only the emulated GPU counts";
  const auto network = Network::create("resnet18", {{"width", "2"}}, {3, 8, 8}, 10);
  ASSERT_TRUE(network) << network.error().message;
  for (const Arithmetic precision : {Arithmetic::kF32, Arithmetic::kBf16}) {
    ReplicaOptions options;
    options.device = Device::kCuda;
    options.precision = precision;
    options.micro_batch = 2;
    options.sums_held = precision == Arithmetic::kBf16 ? 2 : 0;
    Replica replica(*network, options);
    const auto weights = reference::random_weights(*network, 5);
    const Values images(2 * 3 * 8 * 8, 0.5f);
    const std::int32_t labels[] = {1, 2};
    const MicroBatch batch{2, images.data(), labels, 1, 1, 0};
    std::uint64_t before = 0;
    for (int step = 0; step < 3; ++step) {
      if (step == 1) before = allocations();
      Recorder recorder(*network);
      replica.load(weights.parameters, weights.statistics);
      replica.train(batch, 1, recorder);
      replica.evaluate(batch);
    }
    EXPECT_GT(before, 0u);
    EXPECT_EQ(allocations(), before) << arithmetic_name(precision);
  }
}

TEST(Allocations, RefreshesAndOrdinaryStepsOfTheOptimizerMakeNone) {
  if (!emulated()) GTEST_SKIP() << "only the emulated GPU counts";
  const auto backend = *make_backend(Device::kCuda);
  const SamplesPlan plan{.samples = 6, .parameters = 20, .factors = 2, .m = 4, .n = 5};
  const Values first(plan.rows() * plan.width(), 1), second(plan.rows() * plan.m, 1), g(plan.parameters, 1);
  std::vector<double> gram(36), c(6);
  Values d(plan.parameters);
  std::unique_ptr<Samples> in_force;
  std::uint64_t before = 0;
  for (int refresh = 0; refresh < 5; ++refresh) {
    if (refresh == 2) before = allocations();  // one is made while the one before is in force
    auto made = backend->plan_samples(plan);
    made->put(first.data(), second.data());
    made->set_buckets({3, std::vector<std::uint32_t>(plan.rows(), 1), Values(plan.rows(), 1)});
    made->gram(gram.data());
    in_force = std::move(made);
    for (int step = 0; step < 2; ++step) {
      in_force->project(g.data(), c.data());
      in_force->correct(g.data(), c.data(), 1, d.data());
    }
  }
  EXPECT_EQ(allocations(), before);
}

}  // namespace
}  // namespace seng::testing
