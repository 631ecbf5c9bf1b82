// What the optimizer's operations ask of the device beside their work, counted on the emulated GPU: no memory
// once two refreshes have been, and one wait between a gradient and its direction.
#include <gtest/gtest.h>

#include "tests/parity/emulated_count.h"
#include "tests/parity/machine.h"
#include "tests/parity/require_cuda.h"

namespace seng::optimizer_calls_test {
namespace {

using testing::emulated;
using testing::emulated_count;
using testing::Values;

TEST(OptimizerCalls, RefreshesAndStepsOfADampedSystemAllocateNothing) {
  if (!emulated()) GTEST_SKIP() << "only the emulated GPU counts";
  const auto backend = *make_backend(Device::kCuda);
  const SamplesPlan plan{.samples = 6, .parameters = 20, .factors = 2, .m = 4, .n = 5};
  const Values first(plan.rows() * plan.width(), 1), second(plan.rows() * plan.m, 1), g(plan.parameters, 1);
  Values d(plan.parameters);
  std::unique_ptr<Samples> in_force;
  std::uint64_t before = 0;
  for (int refresh = 0; refresh < 5; ++refresh) {
    if (refresh == 2) before = emulated_count("allocations");  // one is made while one is in force
    auto made = backend->plan_samples(plan);
    made->put(first.data(), second.data());
    ASSERT_TRUE(made->form_system(1, 1).formed);
    in_force = std::move(made);
    for (int step = 0; step < 2; ++step) in_force->precondition(g.data(), 1, d.data());
  }
  EXPECT_GT(before, 0u);
  EXPECT_EQ(emulated_count("allocations"), before);
}

TEST(OptimizerCalls, RefreshesAndStepsOfKroneckerFactorsAllocateNothing) {
  if (!emulated()) GTEST_SKIP() << "only the emulated GPU counts";
  const auto backend = *make_backend(Device::kCuda);
  const KroneckerPlan plan{.m = 4, .n = 6, .bias = true};
  const Values inputs(7 * 5, 1), gradients(7 * 4, 1), g(plan.parameters(), 1);
  Values a(plan.packed_a()), of_g(plan.packed_g()), d(plan.parameters());
  std::unique_ptr<KroneckerInverse> in_force;
  std::uint64_t before = 0;
  for (int refresh = 0; refresh < 5; ++refresh) {
    if (refresh == 2) before = emulated_count("allocations");
    const KroneckerArrivals arrived{.samples = 7, .first = inputs.data(), .second = gradients.data()};
    backend->plan_kronecker_sums(plan)->fold(arrived, {0.5, a.data(), of_g.data()}, a.data(), of_g.data());
    auto made = backend->plan_kronecker_inverse(plan);
    ASSERT_TRUE(made->decompose(a.data(), of_g.data()));
    in_force = std::move(made);
    for (int step = 0; step < 2; ++step) in_force->precondition(g.data(), 1, d.data());
  }
  EXPECT_GT(before, 0u);
  EXPECT_EQ(emulated_count("allocations"), before);
}

TEST(OptimizerCalls, ADirectionWaitsForTheDeviceOnce) {
  if (!emulated()) GTEST_SKIP() << "only the emulated GPU counts";
  const auto backend = *make_backend(Device::kCuda);
  const auto waits_of = [](const std::function<void()>& step) {
    step();  // the first one may find its scratch space too small
    const std::uint64_t before = emulated_count("waits");
    step();
    return emulated_count("waits") - before;
  };
  const ConvolutionGeometry geometry{2, 4, 4, 3, 4, 4, 3, 3, 1, 1};
  const SamplesPlan plans[] = {
      {.samples = 6, .parameters = 20},
      {.samples = 6, .parameters = 24, .factors = 2, .m = 4, .n = 5, .bias = true},
      {.samples = 6, .parameters = 54, .factors = 16, .m = 3, .n = 18, .convolution = geometry}};
  for (const SamplesPlan& plan : plans) {
    const auto samples = backend->plan_samples(plan);
    samples->put(Values(plan.first_floats(), 0.1f).data(), Values(plan.second_floats(), 0.1f).data());
    ASSERT_TRUE(samples->form_system(1, 1).formed);
    const Values g(plan.parameters, 1);
    Values d(plan.parameters);
    EXPECT_EQ(waits_of([&] { samples->precondition(g.data(), 1, d.data()); }), 1u) << plan.factors;
    EXPECT_EQ(waits_of([&] {
                samples->solve(g.data());
                samples->correct_by(g.data(), *samples, 1, d.data());
              }),
              1u)
        << plan.factors;
    if (plan.factors == 0) continue;
    samples->set_buckets({3, std::vector<std::uint32_t>(plan.rows(), 1), Values(plan.rows(), 1)});
    EXPECT_EQ(waits_of([&] { samples->precondition(g.data(), 1, d.data()); }), 1u) << plan.factors;
  }
  const KroneckerPlan plan{.m = 4, .n = 6, .bias = true};
  const auto inverse = backend->plan_kronecker_inverse(plan);
  ASSERT_TRUE(inverse->decompose(Values(plan.packed_a(), 1).data(), Values(plan.packed_g(), 1).data()));
  const Values g(plan.parameters(), 1);
  Values d(plan.parameters());
  EXPECT_EQ(waits_of([&] { inverse->precondition(g.data(), 1, d.data()); }), 1u);
}

}  // namespace
}  // namespace seng::optimizer_calls_test
