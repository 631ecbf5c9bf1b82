// Factors that a GPU cuts where they lie, against those that the host cuts: sample by sample, their product
// where the spectrum has a gap, and what they hold of the gradient where it has none.
#include "actors/optim/low_rank.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <random>

#include <gtest/gtest.h>

#include "actors/engine/bf16.h"
#include "actors/engine/low_rank_cuts.h"
#include "actors/optim/fragment.h"
#include "tests/parity/machine.h"
#include "tests/parity/require_cuda.h"

namespace seng::low_rank_on_cuda_test {
namespace {

using testing::emulated;
using testing::Machine;
using testing::normal;
using testing::Values;

constexpr std::size_t kSamples = 3;
constexpr SubspaceKey kKey{11, 301, 4, 16};

struct Case {
  std::string name;
  ConvolutionGeometry geometry;
  bool bias;
  int rank;
  friend void PrintTo(const Case& one, std::ostream* out) { *out << one.name; }
};

// Where the basis is unfolded and where the input is, more positions than outputs and fewer.
std::vector<Case> cases() {
  return {
      {"k3x3_bias", {3, 7, 6, 9, 7, 6, 3, 3, 1, 1}, true, 3},
      {"k3x3_stride_2", {4, 9, 8, 6, 5, 4, 3, 3, 2, 1}, false, 3},
      {"k3x3_stride_2_bias_of_few_positions", {8, 5, 5, 20, 3, 3, 3, 3, 2, 1}, true, 2},
      {"k1x1_bias", {6, 4, 4, 7, 4, 4, 1, 1, 1, 0}, true, 2},
      {"k1x1_stride_2", {5, 6, 6, 8, 3, 3, 1, 1, 2, 0}, false, 4},
      {"k5x5_of_one_channel_bias", {1, 8, 8, 12, 8, 8, 5, 5, 1, 2}, true, 6},
      {"k1x3_without_padding", {4, 5, 7, 6, 5, 5, 1, 3, 1, 0}, false, 1},
      {"k7x7_stride_2_of_three_channels", {3, 12, 12, 6, 6, 6, 7, 7, 2, 3}, false, 4},
  };
}

Block block_of(const Case& one) {
  const ConvolutionGeometry& g = one.geometry;
  Block block{.name = "conv", .kind = BlockKind::kConvolution, .m = g.channels_out};
  block.n = std::int64_t{g.channels_in} * g.kernel_h * g.kernel_w;
  block.positions = std::int64_t{g.height_out} * g.width_out;
  block.bias = one.bias;
  block.conv = g;
  block.count = std::size_t(block.m * (block.n + (one.bias ? 1 : 0)));
  return block;
}

// x <- orthonormal rows
void orthonormalise(std::vector<Values>& rows) {
  for (std::size_t i = 0; i < rows.size(); ++i) {
    for (int twice = 0; twice < 2; ++twice)
      for (std::size_t j = 0; j < i; ++j) {
        double along = 0;
        for (std::size_t k = 0; k < rows[i].size(); ++k) along += double(rows[i][k]) * rows[j][k];
        for (std::size_t k = 0; k < rows[i].size(); ++k) rows[i][k] -= float(along * rows[j][k]);
      }
    double square = 0;
    for (const float x : rows[i]) square += double(x) * x;
    for (float& x : rows[i]) x = float(x / std::sqrt(square));
  }
}

// Its p-th singular value is .6, the one behind it 1e-4.
Values with_gap(Random& random, std::size_t m, std::size_t kappa, std::size_t p) {
  const std::size_t full = std::min(m, kappa);
  std::vector<Values> left, right;
  for (std::size_t j = 0; j < full; ++j) {
    left.push_back(normal(random, m));
    right.push_back(normal(random, kappa));
  }
  orthonormalise(left);
  orthonormalise(right);
  std::vector<double> sum(m * kappa);
  for (std::size_t j = 0; j < full; ++j)
    for (std::size_t i = 0; i < sum.size(); ++i)
      sum[i] += (j < p ? 1 - 0.4 * double(j + 1) / double(p) : 1e-4 / double(j)) * left[j][i / kappa] *
                right[j][i % kappa];
  return {sum.begin(), sum.end()};
}

class LowRankOnCuda : public ::testing::TestWithParam<Case> {
 protected:
  LowRankOnCuda()
      : seed_(seed_of_run()),
        trace_(__FILE__, __LINE__, "SENG_TEST_SEED=" + std::to_string(seed_)),
        random_(seed_, RandomPurpose::kSynthetic) {
    inputs_ = normal(random_, kSamples * sizes_.activations, 0.3f);
    gradients_ = normal(random_, kSamples * sizes_.gradients, 0.05f, 0.2f);
  }
  static std::uint64_t seed_of_run() {
    const char* fixed = std::getenv("SENG_TEST_SEED");
    return fixed != nullptr ? std::strtoull(fixed, nullptr, 10) : std::random_device()();
  }

  void give_gaps() {
    gradients_.clear();
    for (std::size_t i = 0; i < kSamples; ++i) {
      const Values one = with_gap(random_, m_, kappa_, p_);
      gradients_.insert(gradients_.end(), one.begin(), one.end());
    }
  }

  LowRankPlan plan(int rank = 0, bool halves = false) const {
    return LowRankPlan::of(block_, {rank > 0 ? rank : GetParam().rank, halves}, kSamples);
  }
  Values cut(const LowRankPlan& plan, float factor = 1, const SubspaceKey& key = kKey,
             Arithmetic precision = Arithmetic::kF32) const {
    Machine machine(*make_backend(Device::kCuda, precision));
    const auto cuts = machine.backend().plan_low_rank_cuts(plan);
    const float *inputs = machine.put(inputs_), *gradients = machine.put(gradients_);
    return machine.get(cuts->cut(inputs, gradients, factor, key), plan.words());
  }
  Values of_host(const CurvatureForm& form) const {
    return make_fragment(block_, fragment_shape(block_, form, int(kSamples)),
                         {int(kSamples), inputs_.data(), gradients_.data()}, kKey);
  }

  // Sample i's parts of what was cut to rank p.
  const float* cut_input(const Values& values, std::size_t i, std::size_t p) const {
    return values.data() + i * p * width_;
  }
  const float* cut_gradient(const Values& values, std::size_t i, std::size_t p) const {
    return values.data() + kSamples * p * width_ + i * p * m_;
  }
  // U_i = sum over k of g_k a_k^T, [m, width].
  std::vector<double> product(const Values& values, std::size_t i, std::size_t p) const {
    std::vector<double> u(m_ * width_);
    const float *a = cut_input(values, i, p), *g = cut_gradient(values, i, p);
    for (std::size_t k = 0; k < p; ++k)
      for (std::size_t o = 0; o < m_; ++o)
        for (std::size_t j = 0; j < width_; ++j)
          u[o * width_ + j] += double(g[k * m_ + o]) * double(a[k * width_ + j]);
    return u;
  }
  static double error(const std::vector<double>& a, const std::vector<double>& b) {
    double difference = 0, size = 0;
    for (std::size_t i = 0; i < b.size(); ++i) {
      difference += (a[i] - b[i]) * (a[i] - b[i]);
      size += b[i] * b[i];
    }
    return std::sqrt(difference / size);
  }
  // |x|^2
  static double energy(const float* values, std::size_t count) {
    double sum = 0;
    for (std::size_t i = 0; i < count; ++i) sum += double(values[i]) * values[i];
    return sum;
  }
  // Bits, so that a NaN is equal to itself.
  static std::vector<std::uint32_t> bits(const float* values, std::size_t count) {
    std::vector<std::uint32_t> out(count);
    std::memcpy(out.data(), values, count * sizeof(float));
    return out;
  }
  std::vector<std::uint32_t> sample_bits(const Values& values, std::size_t i) const {
    auto out = bits(cut_input(values, i, p_), p_ * width_);
    const auto more = bits(cut_gradient(values, i, p_), p_ * m_);
    out.insert(out.end(), more.begin(), more.end());
    return out;
  }

  const Block block_ = block_of(GetParam());
  const FactorSizes sizes_ = factor_sizes(block_);
  const std::size_t m_ = std::size_t(block_.m), kappa_ = std::size_t(block_.positions),
                    p_ = std::size_t(GetParam().rank), width_ = std::size_t(block_.n) + (block_.bias ? 1 : 0);
  std::uint64_t seed_;
  ::testing::ScopedTrace trace_;
  Random random_;
  Values inputs_, gradients_;
};

TEST_P(LowRankOnCuda, GivesWhatTheHostGivesWhereTheSpectrumHasAGap) {
  SENG_REQUIRE_CUDA(Arithmetic::kF32);
  give_gaps();
  const Values here = of_host({Representation::kLowRank, GetParam().rank}), there = cut(plan());
  ASSERT_EQ(there.size(), here.size());
  for (std::size_t i = 0; i < kSamples; ++i)
    EXPECT_LE(error(product(there, i, p_), product(here, i, p_)), 1e-5) << i;
}

// It begins with the same random numbers, so that it comes near what the host comes to, whatever that holds.
TEST_P(LowRankOnCuda, HoldsAsMuchAsTheHostWhereItHasNone) {
  SENG_REQUIRE_CUDA(Arithmetic::kF32);
  const Values there = cut(plan()), here = of_host({Representation::kLowRank, GetParam().rank});
  for (std::size_t i = 0; i < kSamples; ++i) {
    const auto all = cumulated_energy(gradients_.data() + i * m_ * kappa_, m_, kappa_);
    const double held = energy(cut_gradient(there, i, p_), p_ * m_);
    const double by_host = energy(cut_gradient(here, i, p_), p_ * m_);
    EXPECT_LE(held, all[p_ - 1] * (1 + 1e-5)) << i;
    EXPECT_NEAR(held, by_host, 1e-4 * by_host) << i;
  }
}

TEST_P(LowRankOnCuda, IsExactAtFullRank) {
  SENG_REQUIRE_CUDA(Arithmetic::kF32);
  const std::size_t full = std::min(m_, kappa_);
  const Values there = cut(plan(int(full))), whole = of_host(Representation::kExplicit);
  for (std::size_t i = 0; i < kSamples; ++i) {
    // The parameters' layout: the weight, then the bias.
    std::vector<double> expected(m_ * width_);
    for (std::size_t o = 0; o < m_; ++o)
      for (std::size_t j = 0; j < width_; ++j)
        expected[o * width_ + j] =
            whole[i * block_.count + (j < std::size_t(block_.n) ? o * std::size_t(block_.n) + j
                                                                : m_ * std::size_t(block_.n) + o)];
    EXPECT_LE(error(product(there, i, full), expected), 1e-5) << i;
  }
}

TEST_P(LowRankOnCuda, VanishingGradientsHarmNothing) {
  SENG_REQUIRE_CUDA(Arithmetic::kF32);
  const std::size_t each = m_ * kappa_;
  // Of rank one, but for what is rounding beside it: always the same, since what is left of it is chance.
  Random fixed(4, RandomPurpose::kSynthetic);
  const Values x = normal(fixed, 2 * m_), y = normal(fixed, 2 * kappa_);
  for (std::size_t j = 0; j < each; ++j) {
    gradients_[j] = 0;
    gradients_[each + j] *= 1e-38f;  // denormal numbers
    gradients_[2 * each + j] =
        x[j / kappa_] * y[j % kappa_] + 1e-7f * x[m_ + j / kappa_] * y[kappa_ + j % kappa_];
  }
  const Values there = cut(plan());
  for (std::size_t i = 0; i < kSamples; ++i) {
    // The basis is orthonormal: nothing becomes longer than it was.
    const float *a = cut_input(there, i, p_), *g = cut_gradient(there, i, p_);
    const double of_input = energy(inputs_.data() + i * sizes_.activations, sizes_.activations);
    const double overlaps = double(block_.conv.kernel_h * block_.conv.kernel_w);
    EXPECT_LE(energy(a, p_ * width_), 1.0001 * (overlaps * of_input + double(kappa_))) << i;
    EXPECT_LE(energy(g, p_ * m_), 1.0001 * energy(gradients_.data() + i * each, each)) << i;
    if (i == 0) {
      EXPECT_EQ(energy(a, p_ * width_), 0);
    }
    if (i == 2) {
      const double all = energy(gradients_.data() + i * each, each);
      EXPECT_NEAR(energy(g, p_ * m_), all, 1e-5 * all);
      if (emulated()) {
        EXPECT_EQ(energy(a + width_, (p_ - 1) * width_), 0);
      }
    }
  }
}

TEST_P(LowRankOnCuda, ASampleThatIsNotFiniteHarmsNoOther) {
  SENG_REQUIRE_CUDA(Arithmetic::kF32);
  const Values before = cut(plan());
  for (const float bad : {std::nanf(""), -INFINITY}) {
    gradients_[2 * m_ * kappa_ + random_.below(m_ * kappa_)] = bad;
    const Values after = cut(plan());
    for (std::size_t i = 0; i < kSamples; ++i) {
      if (i != 2) {
        EXPECT_EQ(sample_bits(after, i), sample_bits(before, i)) << i;
        continue;
      }
      for (std::size_t j = 0; j < p_ * width_; ++j) EXPECT_TRUE(std::isnan(cut_input(after, i, p_)[j]));
      for (std::size_t j = 0; j < p_ * m_; ++j) EXPECT_TRUE(std::isnan(cut_gradient(after, i, p_)[j]));
    }
  }
}

// Every sample one place further back, of samples that begin one place earlier, behind another one.
TEST_P(LowRankOnCuda, ASamplesBitsFollowFromItselfAndItsPlace) {
  SENG_REQUIRE_CUDA(Arithmetic::kF32);
  const Values before = cut(plan());
  EXPECT_EQ(cut(plan()), before);
  std::rotate(inputs_.begin(), inputs_.end() - std::ptrdiff_t(sizes_.activations), inputs_.end());
  std::rotate(gradients_.begin(), gradients_.end() - std::ptrdiff_t(sizes_.gradients), gradients_.end());
  for (std::size_t j = 0; j < sizes_.gradients; ++j) gradients_[j] *= 1e20f;
  SubspaceKey key = kKey;
  --key.first_sample;
  const Values after = cut(plan(), 1, key);
  for (std::size_t i = 0; i + 1 < kSamples; ++i)
    EXPECT_EQ(sample_bits(after, i + 1), sample_bits(before, i)) << i;
  key.block += 1;
  EXPECT_NE(cut(plan(), 1, key), after);
}

TEST_P(LowRankOnCuda, InRunsOfSamplesItGivesTheSame) {
  SENG_REQUIRE_CUDA(Arithmetic::kF32);
  give_gaps();
  LowRankPlan in_runs = plan();
  const Values whole = cut(in_runs);
  in_runs.run_floats = 2 * in_runs.sample_floats();
  ASSERT_EQ(in_runs.run_samples(), 2u);
  const Values parts = cut(in_runs);
  if (emulated()) {
    EXPECT_EQ(parts, whole);
  }
  for (std::size_t i = 0; i < kSamples; ++i)
    EXPECT_LE(error(product(parts, i, p_), product(whole, i, p_)), 1e-5) << i;
}

// In any precision.
TEST_P(LowRankOnCuda, HandsOverWhatAFragmentHolds) {
  SENG_REQUIRE_CUDA(Arithmetic::kF32);
  const CurvatureForm form{Representation::kLowRank, GetParam().rank};
  const Values wide = cut(plan(), 0.25f), once = cut(plan());
  EXPECT_EQ(wide.size(), fragment_shape(block_, form, int(kSamples)).words);
  const std::size_t inputs = kSamples * p_ * width_;
  for (std::size_t i = 0; i < wide.size(); ++i)
    ASSERT_EQ(wide[i], i < inputs ? once[i] : once[i] * 0.25f) << i;
  const Values halves = cut(plan(0, true), 0.25f, kKey, Arithmetic::kBf16);
  ASSERT_EQ(halves.size(), fragment_shape(block_, form, int(kSamples), Precision::kBf16).words);
  std::vector<std::uint16_t> expected(2 * halves.size());
  narrow(wide.data(), expected.data(), wide.size());
  EXPECT_EQ(std::memcmp(halves.data(), expected.data(), halves.size() * sizeof(float)), 0);
}

INSTANTIATE_TEST_SUITE_P(Convolutions, LowRankOnCuda, ::testing::ValuesIn(cases()),
                         [](const auto& info) { return info.param.name; });

TEST(LowRank, TensorCoresTakeNoPartInIt) {
  SENG_REQUIRE_CUDA(Arithmetic::kTf32);
  const Case one = cases().front();
  const LowRankPlan plan = LowRankPlan::of(block_of(one), {one.rank, false}, 2);
  Random random(3, RandomPurpose::kSynthetic);
  const Values inputs = normal(random, 2 * plan.input_floats());
  const Values gradients = normal(random, 2 * plan.m * plan.positions);
  std::vector<Values> results;
  for (const Arithmetic precision : {Arithmetic::kF32, Arithmetic::kTf32}) {
    Machine machine(*make_backend(Device::kCuda, precision));
    const auto cuts = machine.backend().plan_low_rank_cuts(plan);
    const float *x = machine.put(inputs), *dy = machine.put(gradients);
    results.push_back(machine.get(cuts->cut(x, dy, 1, kKey), plan.words()));
  }
  EXPECT_EQ(results[0], results[1]);
}

TEST(LowRank, TheHostCutsForItselfAndWhereThereAreTooManyVectors) {
  const Block block = block_of({"wide", {8, 20, 20, 400, 20, 20, 3, 3, 1, 1}, false, 300});
  const LowRankPlan plan = LowRankPlan::of(block, {300, false}, 2);
  EXPECT_EQ((*make_backend(Device::kCpu))->plan_low_rank_cuts(plan), nullptr);
  SENG_REQUIRE_CUDA(Arithmetic::kF32);
  const auto backend = *make_backend(Device::kCuda);
  EXPECT_EQ(backend->plan_low_rank_cuts(plan), nullptr);
  EXPECT_NE(backend->plan_low_rank_cuts(LowRankPlan::of(block, {252, false}, 2)), nullptr);
  EXPECT_THROW(backend->plan_low_rank_cuts(LowRankPlan::of(block, {401, false}, 2)), InvariantError);
}

}  // namespace
}  // namespace seng::low_rank_on_cuda_test
