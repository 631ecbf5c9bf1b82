// Curvature that a GPU multiplies, decomposes and keeps, against that of the CPU's lanes: the same fragments
// and gradients, directions and what a backup or a checkpoint holds of them.
#include "actors/optim/curvature.h"

#include <cstdlib>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/parity/machine.h"
#include "tests/parity/require_cuda.h"

namespace seng::curvature_on_cuda_test {
namespace {

using testing::emulated;
using ::testing::HasSubstr;
using testing::normal;
using testing::relative_error;
using testing::Values;

constexpr int kMicros = 4, kPerMicro = 6, kSamples = kMicros * kPerMicro;
constexpr double kDamping = 0.3;

Block linear(int in, int out, bool bias) {
  Block block{.name = "fc", .kind = BlockKind::kLinear, .m = out, .n = in, .bias = bias};
  block.count = std::size_t(out) * std::size_t(in + (bias ? 1 : 0));
  return block;
}

Block convolution(const ConvolutionGeometry& g, bool bias) {
  Block block{.name = "conv", .kind = BlockKind::kConvolution, .m = g.channels_out};
  block.n = std::int64_t{g.channels_in} * g.kernel_h * g.kernel_w;
  block.positions = std::int64_t{g.height_out} * g.width_out;
  block.bias = bias;
  block.conv = g;
  block.count = std::size_t(block.m * (block.n + (bias ? 1 : 0)));
  return block;
}

struct Case {
  std::string name;
  Block block;
  CurvatureForm form;
  SketchOptions sketch = {};
  ProductOptions product = {};
  int workers = 1;
  friend void PrintTo(const Case& one, std::ostream* out) { *out << one.name; }
};

std::vector<Case> cases() {
  using enum ProductKind;
  const ConvolutionGeometry wide{2, 7, 6, 4, 7, 6, 3, 3, 1, 1}, deep{6, 3, 3, 3, 3, 3, 3, 3, 1, 1};
  return {
      {"kfac_linear", linear(30, 7, false), Representation::kKronecker},
      {"kfac_linear_bias", linear(9, 4, true), Representation::kKronecker},
      {"kfac_convolution_sums_bias", convolution(wide, true), Representation::kKronecker},
      {"kfac_convolution_raw", convolution(deep, false), Representation::kKronecker},
      {"explicit", convolution(wide, true), Representation::kExplicit},
      {"implicit_linear_of_workers", linear(11, 7, true), Representation::kImplicit, {}, {}, 2},
      {"implicit_convolution", convolution(wide, true), Representation::kImplicit},
      {"low_rank_buckets", convolution(wide, true), {Representation::kLowRank, 3}, {}, {kCountSketch, 9}},
      {"explicit_sketched", linear(11, 7, true), Representation::kExplicit, {SketchKind::kCountSketch, 40}},
      {"implicit_sketched", linear(11, 7, true), Representation::kImplicit, {SketchKind::kRows, 40}},
  };
}

// All samples' factors of one refresh.
struct Refresh {
  Refresh(const Block& block, Random& random)
      : sizes(factor_sizes(block)),
        inputs(normal(random, kSamples * sizes.activations, 0.5f)),
        gradients(normal(random, kSamples * sizes.gradients, 0.1f)) {}
  SampleFactors of(int micro) const {
    const auto first = std::size_t(micro) * kPerMicro;
    return {kPerMicro, inputs.data() + first * sizes.activations, gradients.data() + first * sizes.gradients};
  }
  FactorSizes sizes;
  Values inputs, gradients;
};

std::uint64_t seed_of_run() {
  const char* fixed = std::getenv("SENG_TEST_SEED");
  return fixed != nullptr ? std::strtoull(fixed, nullptr, 10) : std::random_device()();
}

class CurvatureOnCuda : public ::testing::TestWithParam<Case> {
 protected:
  CurvatureOnCuda()
      : seed_(seed_of_run()),
        trace_(__FILE__, __LINE__, "SENG_TEST_SEED=" + std::to_string(seed_)),
        random_(seed_, RandomPurpose::kSynthetic) {
    for (int i = 0; i < 2; ++i) refreshes_.emplace_back(GetParam().block, random_);
    g_ = normal(random_, GetParam().block.count);
  }

  static std::shared_ptr<SampleDevice> gpu() {
    return std::make_shared<SampleDevice>(*make_backend(Device::kCuda));
  }
  static Curvature empty(const std::shared_ptr<SampleDevice>& device) {
    CurvatureOptions options{.micro_batches = kMicros, .samples_per_micro = kPerMicro};
    options.form = GetParam().form;
    options.sketch = GetParam().sketch;
    options.product = GetParam().product;
    options.workers = GetParam().workers;
    options.device = device;
    return Curvature(GetParam().block, options);
  }
  void open(Curvature& curvature, std::uint64_t step, SampleDevice* device) const {
    curvature.begin_refresh(step, kDamping);
    for (int micro = 0; micro < kMicros; ++micro) {
      const auto values = make_fragment(
          GetParam().block, fragment_shape(GetParam().block, GetParam().form, kPerMicro),
          refreshes_[step - 1].of(micro), {1, step, 0, std::uint32_t(micro * kPerMicro)}, device);
      ASSERT_TRUE(curvature.add_fragment(std::uint32_t(micro), values));
    }
  }
  Curvature refreshed_twice(const std::shared_ptr<SampleDevice>& device) {
    Curvature made = empty(device);
    for (std::uint64_t step = 1; step <= 2; ++step) {
      open(made, step, device.get());
      const Status accepted = made.accept(lanes_);
      EXPECT_TRUE(accepted) << accepted.error().message;
    }
    return made;
  }
  Values direction(Curvature& curvature) {
    Values d(g_.size());
    inner_ = curvature.precondition(g_, d, 9, lanes_);
    return d;
  }

  std::uint64_t seed_;
  ::testing::ScopedTrace trace_;
  Random random_;
  std::vector<Refresh> refreshes_;
  Values g_;
  Lanes lanes_{2};
  double inner_ = 0;
};

TEST_P(CurvatureOnCuda, GivesTheDirectionOfTheLanes) {
  SENG_REQUIRE_CUDA(Arithmetic::kF32);
  Curvature here = refreshed_twice(nullptr), there = refreshed_twice(gpu());
  const Values d = direction(here);
  const double inner = inner_;
  EXPECT_LE(relative_error(direction(there), d), 1e-5);
  EXPECT_NEAR(inner_, inner, 1e-5 * std::abs(inner));
  const double along = here.curvature_along(g_, lanes_);
  EXPECT_NEAR(there.curvature_along(g_, lanes_), along, 1e-5 * along);
  EXPECT_LE(relative_error(there.values(), here.values()), 1e-6);
}

// An owner, its backup, one that is given the values, and a second GPU of the kind.
TEST_P(CurvatureOnCuda, ComesToTheSameBitsOnEveryWay) {
  SENG_REQUIRE_CUDA(Arithmetic::kF32);
  const auto device = gpu(), other = gpu();
  Curvature owner = refreshed_twice(device), again = refreshed_twice(other);
  const Values d = direction(owner);
  EXPECT_EQ(direction(again), d);
  EXPECT_EQ(again.digest(), owner.digest());
  Curvature backup = empty(other), late = empty(other);
  for (std::uint64_t step = 1; step <= 2; ++step) {
    open(backup, step, other.get());
    ASSERT_TRUE(backup.accept_unformed(lanes_));
  }
  EXPECT_EQ(backup.digest(), owner.digest());
  EXPECT_EQ(direction(backup), d);
  ASSERT_TRUE(late.restore(owner.step(), owner.lambda(), owner.values(), lanes_));
  EXPECT_EQ(late.digest(), owner.digest());
  EXPECT_EQ(direction(late), d);
}

// The gradient is there already, and the direction stays.
TEST_P(CurvatureOnCuda, ComesToTheSameBitsWithoutTheHost) {
  SENG_REQUIRE_CUDA(Arithmetic::kF32);
  const auto device = gpu();
  Curvature curvature = refreshed_twice(device);
  const Values d = direction(curvature);
  testing::Machine machine(*make_backend(Device::kCuda));  // another stream of it, as a replica's is
  const float* g = machine.put(g_);
  float* there = machine.room(g_.size());
  machine.backend().wait();
  for (int step = 0; step < 2; ++step) {
    EXPECT_NE(curvature.form_there(9, lanes_).made, nullptr);
    curvature.precondition_there(g, there);
    device->wait();
    EXPECT_EQ(machine.get(there, g_.size()), d);
    EXPECT_EQ(machine.get(g, g_.size()), g_);
  }
  Curvature none = empty(device);
  EXPECT_EQ(none.form_there(9, lanes_), (Curvature::InForce{nullptr, 0, 9}));
}

TEST_P(CurvatureOnCuda, WhatCannotBeFactoredIsToldAndTheOneBeforeStays) {
  SENG_REQUIRE_CUDA(Arithmetic::kF32);
  const auto device = gpu();
  Curvature curvature = refreshed_twice(device);
  const Values d = direction(curvature);
  // A value that is not finite never comes to the factorisation.
  curvature.begin_refresh(3, kDamping);
  const std::size_t words = fragment_shape(GetParam().block, GetParam().form, kPerMicro).words;
  for (std::uint32_t micro = 0; micro < kMicros; ++micro)
    ASSERT_TRUE(curvature.add_fragment(micro, Values(words, std::nanf(""))));
  const Status not_finite = curvature.accept(lanes_);
  ASSERT_FALSE(not_finite);
  EXPECT_THAT(not_finite.error().message, HasSubstr("not finite"));
  EXPECT_EQ(direction(curvature), d);
  if (!emulated()) return;

  open(curvature, 2, device.get());
  setenv("SENG_EMULATED_CUSOLVER_INFO", "3", 1);
  const Status refused = curvature.accept(lanes_);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message,
              HasSubstr(GetParam().form.representation == Representation::kKronecker
                            ? "the eigendecomposition of a factor does not converge"
                            : "lambda I + U^T U is not positive definite with lambda 0.3"));
  EXPECT_THAT(refused.error().message, HasSubstr("that of step 2 stays in force"));
  EXPECT_EQ(direction(curvature), d);

  open(curvature, 2, device.get());
  setenv("SENG_EMULATED_CUSOLVER_INFO", "-4", 1);
  EXPECT_THROW((void)curvature.accept(lanes_), VendorError);
  unsetenv("SENG_EMULATED_CUSOLVER_INFO");
  EXPECT_EQ(direction(curvature), d);
}

// A Gram matrix of finite samples overflows. Which entry does so first depends on what is added in float.
TEST_P(CurvatureOnCuda, AnOverflowIsToldAsOnTheCpu) {
  SENG_REQUIRE_CUDA(Arithmetic::kF32);
  if (GetParam().form.representation == Representation::kKronecker) return;
  for (const auto& device : {std::shared_ptr<SampleDevice>(), gpu()}) {
    Curvature curvature = empty(device);
    curvature.begin_refresh(1, kDamping);
    const std::size_t words = fragment_shape(GetParam().block, GetParam().form, kPerMicro).words;
    for (std::uint32_t micro = 0; micro < kMicros; ++micro)
      ASSERT_TRUE(curvature.add_fragment(micro, Values(words, micro == 0 ? 1.0f : 1e25f)));
    const Status refused = curvature.accept(lanes_);
    ASSERT_FALSE(refused);
    EXPECT_THAT(refused.error().message, HasSubstr("step 1 is refused: the inner product of samples 6 and "));
    EXPECT_THAT(refused.error().message, HasSubstr(" overflows"));
  }
}

// All zeros, which is what a layer behind dead units leaves: nothing is above the damping.
TEST_P(CurvatureOnCuda, SingularFactorsGiveTheDampedGradient) {
  SENG_REQUIRE_CUDA(Arithmetic::kF32);
  Curvature curvature = empty(gpu());
  curvature.begin_refresh(1, kDamping);
  const std::size_t words = fragment_shape(GetParam().block, GetParam().form, kPerMicro).words;
  for (std::uint32_t micro = 0; micro < kMicros; ++micro)
    ASSERT_TRUE(curvature.add_fragment(micro, Values(words)));
  const Status accepted = curvature.accept(lanes_);
  ASSERT_TRUE(accepted) << accepted.error().message;
  Values expected = g_;
  for (float& value : expected) value = float(value / kDamping);
  EXPECT_LE(relative_error(direction(curvature), expected), 1e-5);
}

INSTANTIATE_TEST_SUITE_P(Forms, CurvatureOnCuda, ::testing::ValuesIn(cases()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace seng::curvature_on_cuda_test
