// Every operation of the backend's contract on the CPU and on CUDA: the same inputs, forward and backward,
// relative errors, and on a GPU the times of both. On a machine with a GPU: build/release/bin/parity_tests.
// parity_emulated_tests is the same on stand-ins for CUDA's libraries: tests/support/emulated_cuda.
#include <cstdio>
#include <random>

#include <gtest/gtest.h>

#include "tests/parity/machine.h"
#include "tests/parity/require_cuda.h"

namespace seng::testing {
namespace {

constexpr Size kSmall{4, 6, 9}, kLarge{32, 64, 32};
constexpr double kF32 = 1e-5, kTf32 = 1e-3, kBf16 = 1e-2, kF16 = 1e-3;

// A map's entry from the device against the CPU's, as a row of the table.
void print_row(const std::string& operation, const std::string& part, double error, const Machine& cpu,
               const Machine& device) {
  std::printf("  %-38s %-22s error %.1e", operation.c_str(), part.c_str(), error);
  if (cpu.milliseconds.contains(part))
    std::printf("   cpu %9.3f ms   cuda %9.3f ms   %7.1f times", cpu.milliseconds.at(part),
                device.milliseconds.at(part), cpu.milliseconds.at(part) / device.milliseconds.at(part));
  std::printf("\n");
}

void compare(const Operation& operation, Arithmetic precision, const Size& size, double bound, bool timing) {
  std::random_device entropy;
  const std::uint64_t seed = std::uint64_t{entropy()} << 32 | entropy();
  SCOPED_TRACE(::testing::Message() << "seed " << seed << ", batch " << size.batch << ", channels "
                                    << size.channels);
  Machine cpu(*make_backend(Device::kCpu)), device(*make_backend(Device::kCuda, precision));
  cpu.rounding = device.rounding = precision;
  cpu.timing = device.timing = timing;
  for (Machine* machine : {&cpu, &device}) {
    Random random(seed, RandomPurpose::kSynthetic);
    operation.run(*machine, random, size);
  }
  ASSERT_EQ(cpu.results.size(), device.results.size());
  ASSERT_FALSE(cpu.results.empty());
  double worst = 0;
  for (const auto& [name, values] : cpu.results) {
    ASSERT_TRUE(device.results.contains(name)) << name;
    const double error = relative_error(device.results.at(name), values);
    EXPECT_LE(error, bound) << operation.name << ", " << name;
    worst = std::max(worst, error);
  }
  if (!timing) return;
  for (const auto& [part, _] : cpu.milliseconds) print_row(operation.name, part, worst, cpu, device);
}

class OperationsOnCuda : public ::testing::TestWithParam<std::string> {
 protected:
  const Operation& operation() const {
    for (const Operation& each : operations())
      if (each.name == GetParam()) return each;
    throw std::logic_error("no such operation");
  }
};

TEST_P(OperationsOnCuda, AreThoseOfTheCpu) {
  SENG_REQUIRE_CUDA(Arithmetic::kF32);
  compare(operation(), Arithmetic::kF32, kSmall, kF32, false);
  if (!emulated()) compare(operation(), Arithmetic::kF32, kLarge, kF32, true);
}

TEST_P(OperationsOnCuda, InBf16AreNearThoseOfTheCpu) {
  SENG_REQUIRE_CUDA(Arithmetic::kBf16);
  compare(operation(), Arithmetic::kBf16, kSmall, kBf16, false);
  if (!emulated()) compare(operation(), Arithmetic::kBf16, kLarge, kBf16, true);
}

TEST_P(OperationsOnCuda, InF16AreNearThoseOfTheCpu) {
  SENG_REQUIRE_CUDA(Arithmetic::kF16);
  compare(operation(), Arithmetic::kF16, kSmall, kF16, false);
  if (!emulated()) compare(operation(), Arithmetic::kF16, kLarge, kF16, true);
}

class ProductsOnCuda : public OperationsOnCuda {};

TEST_P(ProductsOnCuda, InTf32AreNearThoseOfTheCpu) {
  SENG_REQUIRE_CUDA(Arithmetic::kTf32);
  if (emulated()) GTEST_SKIP() << "the emulated GPU computes in f32 only";
  compare(operation(), Arithmetic::kTf32, kLarge, kTf32, true);
}

std::vector<std::string> names(bool all) {
  std::vector<std::string> out;
  for (const Operation& operation : operations())
    if (all || operation.product) out.push_back(operation.name);
  return out;
}

INSTANTIATE_TEST_SUITE_P(Table, OperationsOnCuda, ::testing::ValuesIn(names(true)),
                         [](const auto& info) { return info.param; });
INSTANTIATE_TEST_SUITE_P(Table, ProductsOnCuda, ::testing::ValuesIn(names(false)),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace seng::testing
