// K-FAC's factors against their definition in double: direction, running means, fragments, and the life of a
// refresh.
#include "actors/optim/kronecker.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "actors/optim/curvature.h"
#include "tests/actors/optim/problem.h"

namespace seng::kronecker_test {
namespace {

using testing::convolution_block;
using testing::Problem;
using testing::random_problem;

using Dense = std::vector<double>;

// Column `position` of A_i, the row of ones included.
Dense unfolded_column(const Block& block, const float* input, int position) {
  Dense column;
  const ConvolutionGeometry& c = block.conv;
  if (block.kind == BlockKind::kLinear) column.assign(input, input + block.n);
  for (int ch = 0; block.kind == BlockKind::kConvolution && ch < c.channels_in; ++ch)
    for (int ky = 0; ky < c.kernel_h; ++ky)
      for (int kx = 0; kx < c.kernel_w; ++kx) {
        const int y = position / c.width_out * c.stride + ky - c.padding;
        const int x = position % c.width_out * c.stride + kx - c.padding;
        const bool inside = y >= 0 && y < c.height_in && x >= 0 && x < c.width_in;
        column.push_back(inside ? input[(ch * c.height_in + y) * c.width_in + x] : 0.0);
      }
  if (block.bias) column.push_back(1);
  return column;
}

struct Factors {
  Dense a, g;  // full, row-major
};

void add_outer(const Dense& x, double scale, Dense& sum) {
  for (std::size_t i = 0; i < x.size(); ++i)
    for (std::size_t j = 0; j < x.size(); ++j) sum[i * x.size() + j] += scale * x[i] * x[j];
}

Factors dense_factors(const Problem& problem) {
  const Block& block = problem.block;
  const KroneckerShape shape = kronecker_shape(block);
  Factors f{Dense(shape.n * shape.n), Dense(shape.m * shape.m)};
  for (int i = 0; i < problem.samples; ++i) {
    const SampleFactors sample = problem.factors(i, 1);
    for (int t = 0; t < block.positions; ++t) {
      add_outer(unfolded_column(block, sample.activations, t), 1.0 / problem.samples, f.a);
      Dense g;
      for (std::size_t o = 0; o < shape.m; ++o) g.push_back(sample.gradients[o * block.positions + t]);
      add_outer(g, 1.0 / problem.samples / double(block.positions), f.g);
    }
  }
  return f;
}

// G (x) A in the parameters' layout.
testing::DenseFisher dense_kronecker(const Problem& problem, const Factors& f) {
  const Block& block = problem.block;
  const KroneckerShape shape = kronecker_shape(block);
  Problem none = problem;
  none.samples = 0;
  testing::DenseFisher fisher(none);
  const auto place = [&](std::size_t o, std::size_t j) {
    return j < std::size_t(block.n) ? o * std::size_t(block.n) + j : shape.m * std::size_t(block.n) + o;
  };
  for (std::size_t o = 0; o < shape.m; ++o)
    for (std::size_t p = 0; p < shape.m; ++p)
      for (std::size_t i = 0; i < shape.n; ++i)
        for (std::size_t j = 0; j < shape.n; ++j)
          fisher.matrix[place(o, i) * fisher.count + place(p, j)] =
              f.g[o * shape.m + p] * f.a[i * shape.n + j];
  return fisher;
}

Dense packed(const Factors& f, const KroneckerShape& shape) {
  Dense out;
  for (std::size_t i = 0; i < shape.n; ++i)
    for (std::size_t j = 0; j <= i; ++j) out.push_back(f.a[i * shape.n + j]);
  for (std::size_t i = 0; i < shape.m; ++i)
    for (std::size_t j = 0; j <= i; ++j) out.push_back(f.g[i * shape.m + j]);
  return out;
}

struct Case {
  std::string name;
  Block block;
  int samples, micros;
  bool sums;               // what its fragments are
  bool on_device = false;  // by the engine's interface, here the CPU's plain implementation
  friend void PrintTo(const Case& one, std::ostream* out) { *out << one.name; }
};

CurvatureForm factors_form(int sets = 1) {
  CurvatureForm form(Representation::kKronecker);
  form.factor_sets = sets;
  return form;
}

class KroneckerTest : public ::testing::TestWithParam<Case> {
 protected:
  KroneckerTest()
      : seed_(testing::fresh_seed()), trace_(__FILE__, __LINE__, "SENG_TEST_SEED=" + std::to_string(seed_)) {
    random_.seed(seed_);
    if (GetParam().on_device) device_ = std::make_shared<SampleDevice>(*make_backend(Device::kCpu));
    problem_ = next_problem();
  }
  Problem next_problem() { return random_problem(GetParam().block, GetParam().samples, random_); }
  int per_micro() const { return GetParam().samples / GetParam().micros; }
  Curvature empty(const KroneckerOptions& options = {}) const {
    CurvatureOptions all{.micro_batches = GetParam().micros, .samples_per_micro = per_micro()};
    all.form = factors_form(options.inverse_every > 1 ? 2 : 1);
    all.kronecker = options;
    all.device = device_;
    return Curvature(GetParam().block, all);
  }
  std::vector<float> fragment(const Problem& problem, int micro) const {
    return make_fragment(problem.block, fragment_shape(problem.block, factors_form(), per_micro()),
                         problem.factors(micro * per_micro(), per_micro()), {}, device_.get());
  }
  void open(Curvature& curvature, const Problem& problem, std::uint64_t step, double lambda) const {
    curvature.begin_refresh(step, lambda);
    for (int micro = GetParam().micros; micro-- > 0;)
      ASSERT_TRUE(curvature.add_fragment(std::uint32_t(micro), fragment(problem, micro)));
    ASSERT_TRUE(curvature.complete());
  }
  void refresh(Curvature& curvature, const Problem& problem, std::uint64_t step, double lambda) {
    open(curvature, problem, step, lambda);
    const Status accepted = curvature.accept(lanes_);
    ASSERT_TRUE(accepted) << accepted.error().message;
  }
  std::vector<float> direction(Curvature& curvature, int lanes = 2) const {
    Lanes some(lanes);
    std::vector<float> d(problem_.g.size(), NAN);
    inner_ = curvature.precondition(problem_.g, d, 1, some);
    return d;
  }

  const std::uint64_t seed_;
  ::testing::ScopedTrace trace_;
  std::mt19937_64 random_;
  Problem problem_;
  Lanes lanes_{2};
  std::shared_ptr<SampleDevice> device_;
  mutable double inner_ = 0;
};

TEST_P(KroneckerTest, FragmentsAreTheFewerFloats) {
  const KroneckerFragment fragment = kronecker_fragment(GetParam().block, per_micro());
  EXPECT_EQ(fragment.sums, GetParam().sums);
  const KroneckerShape shape = kronecker_shape(GetParam().block);
  const std::size_t sums = shape.packed_a() + shape.packed_g();
  const std::size_t raw =
      sample_size(GetParam().block, Representation::kImplicit).total() * std::size_t(per_micro());
  EXPECT_EQ(fragment.floats(), std::min(sums, raw));
  EXPECT_EQ(this->fragment(problem_, 0).size(), fragment.floats());
}

// The eigenvalues are as exact as a float decomposition has them, e times the largest: as in the test of
// SENG's directions, the error relative to |g| / lambda grows like e |F| / lambda.
TEST_P(KroneckerTest, DirectionIsTheDenseInverseTimesTheGradient) {
  const testing::DenseFisher fisher = dense_kronecker(problem_, dense_factors(problem_));
  const double f = fisher.norm();
  for (const double ratio : {1.0, 1e-1, 1e-2, 1e-3, 1e-4}) {
    const double lambda = ratio * f;
    Curvature curvature = empty();
    refresh(curvature, problem_, 7, lambda);
    const Dense expected = fisher.solve(lambda, problem_.g);
    const double bound = 24 * std::pow(2.0, -24) * (1 + f / lambda) * testing::norm(problem_.g) / lambda;
    const double error = testing::distance(direction(curvature), expected);
    EXPECT_FALSE(!(error <= bound)) << error / bound << " of the bound, lambda/|F| = " << ratio;
    double inner = 0;
    for (std::size_t j = 0; j < expected.size(); ++j) inner += expected[j] * double(problem_.g[j]);
    EXPECT_FALSE(!(std::abs(inner_ - inner) <= bound * testing::norm(problem_.g)));
    EXPECT_GT(inner_, 0);

    double along = 0;  // g^T (G (x) A) g
    for (std::size_t i = 0; i < fisher.count; ++i)
      for (std::size_t j = 0; j < fisher.count; ++j)
        along += problem_.g[i] * fisher.matrix[i * fisher.count + j] * problem_.g[j];
    EXPECT_FALSE(!(std::abs(curvature.curvature_along(problem_.g, lanes_) - along) <= 1e-5 * along));
  }
}

TEST_P(KroneckerTest, RunningMeansFollowTheirDefinition) {
  constexpr std::uint64_t kEvery = 4;
  const KroneckerOptions options{.decay = 0.7, .inverse_every = 3, .refresh_every = kEvery};
  const KroneckerShape shape = kronecker_shape(GetParam().block);
  Curvature curvature = empty(options);
  Factors mean, inverse;
  for (std::uint64_t k = 1; k <= 8; ++k) {
    const Problem problem = next_problem();
    const Factors now = dense_factors(problem);
    const double e = std::min(1 - 1 / double(k), 0.7);
    if (k == 1) mean = now;
    for (std::size_t i = 0; i < mean.a.size(); ++i) mean.a[i] = e * mean.a[i] + (1 - e) * now.a[i];
    for (std::size_t i = 0; i < mean.g.size(); ++i) mean.g[i] = e * mean.g[i] + (1 - e) * now.g[i];
    if ((k - 1) % 3 == 0) inverse = mean;
    const testing::DenseFisher fisher = dense_kronecker(problem_, inverse);
    const double lambda = fisher.norm();
    refresh(curvature, problem, 1 + kEvery * (k - 1), lambda);

    const std::vector<float> values = curvature.values();
    ASSERT_EQ(values.size(), curvature_values(GetParam().block, factors_form(2), 0));
    const auto part = [&](std::size_t begin, std::size_t count) {
      return std::vector<float>(values.begin() + std::ptrdiff_t(begin),
                                values.begin() + std::ptrdiff_t(begin + count));
    };
    std::vector<float> first = part(0, shape.packed_a());
    const std::vector<float> g = part(2 * shape.packed_a(), shape.packed_g());
    first.insert(first.end(), g.begin(), g.end());
    const Dense expected = packed(mean, shape);
    EXPECT_FALSE(!(testing::distance(first, expected) <= 1e-6 * testing::norm(expected))) << k;

    const Dense d = fisher.solve(lambda, problem_.g);
    EXPECT_FALSE(!(testing::distance(direction(curvature), d) <= 1e-5 * testing::norm(d))) << k;
    Curvature elsewhere = empty(options);  // decomposes the same factors
    ASSERT_TRUE(elsewhere.restore(curvature.step(), lambda, values, lanes_));
    EXPECT_EQ(direction(elsewhere), direction(curvature)) << k;
  }
}

TEST_P(KroneckerTest, BitsDependOnNeitherLanesNorTheOrderOfFragments) {
  Curvature first = empty(), second = empty();
  refresh(first, problem_, 1, 0.5);
  second.begin_refresh(1, 0.5);
  for (int micro = 0; micro < GetParam().micros; ++micro) {
    ASSERT_TRUE(second.add_fragment(std::uint32_t(micro), fragment(problem_, micro)));
    ASSERT_TRUE(second.add_fragment(0, fragment(problem_, 0)));
  }
  Lanes four(4);
  ASSERT_TRUE(second.accept(four));
  EXPECT_EQ(first.digest(), second.digest());
  EXPECT_EQ(direction(first, 1), direction(second, 4));
}

// A backup, one that was left with the fragments and settles on them, and one that came by the values: all go
// on to the same next refresh.
TEST_P(KroneckerTest, EveryWayToAVersionGoesOnAlike) {
  const KroneckerOptions options{.decay = 0.9, .inverse_every = 2, .refresh_every = 1};
  const Problem before = next_problem(), after = next_problem();
  Curvature owner = empty(options), backup = empty(options), left = empty(options), late = empty(options),
            settled = empty(options);
  for (Curvature* each : {&owner, &backup, &left, &settled}) {
    refresh(*each, before, 1, 0.5);
    ASSERT_TRUE(each->settle(1));
    open(*each, problem_, 2, 0.25);
  }
  ASSERT_TRUE(owner.accept(lanes_));
  ASSERT_TRUE(backup.accept_unformed(lanes_));
  ASSERT_EQ(left.versions().size(), 2u);
  EXPECT_EQ(left.versions()[1].step, 2u);
  ASSERT_TRUE(left.settle(2));
  ASSERT_TRUE(settled.settle(2));
  const Curvature::Room room = late.begin_version(2, 0.25);
  const std::vector<float> values = owner.values();
  ASSERT_EQ(room.first.size() + room.second.size(), values.size() * sizeof(float));
  std::memcpy(room.first.data(), values.data(), room.first.size());
  std::memcpy(room.second.data(), values.data() + room.first.size() / sizeof(float), room.second.size());
  ASSERT_TRUE(late.finish_version());
  const std::vector<float> d = direction(owner);
  for (Curvature* each : {&backup, &left, &late, &settled}) {
    EXPECT_EQ(each->digest(), owner.digest());
    EXPECT_EQ(direction(*each), d);
    refresh(*each, after, 3, 0.125);
  }
  refresh(owner, after, 3, 0.125);
  for (Curvature* each : {&backup, &left, &late, &settled}) {
    EXPECT_EQ(each->digest(), owner.digest());
    EXPECT_EQ(direction(*each), direction(owner));
  }
}

// A step that is left and done again blends into the means of before, once.
TEST_P(KroneckerTest, ARefreshThatIsTakenBackLeavesNoTrace) {
  const Problem before = next_problem();
  Curvature once = empty(), twice = empty();
  for (Curvature* each : {&once, &twice}) {
    refresh(*each, before, 1, 0.5);
    ASSERT_TRUE(each->settle(1));
    refresh(*each, problem_, 2, 0.25);
  }
  ASSERT_TRUE(twice.settle(1));
  refresh(twice, problem_, 2, 0.25);
  EXPECT_EQ(twice.digest(), once.digest());
}

TEST_P(KroneckerTest, WhatIsNotFiniteIsRefusedAndTheMeansStay) {
  for (const bool owner : {true, false}) {
    Curvature curvature = empty();
    refresh(curvature, problem_, 7, 0.5);
    const Digest digest = curvature.digest();
    curvature.begin_refresh(100, 0.25);
    for (int micro = 0; micro < GetParam().micros; ++micro) {
      std::vector<float> values = fragment(problem_, micro);
      if (micro == 0) values.back() = std::numeric_limits<float>::infinity();
      ASSERT_TRUE(curvature.add_fragment(std::uint32_t(micro), values));
    }
    const Status refused = owner ? curvature.accept(lanes_) : curvature.accept_unformed(lanes_);
    ASSERT_FALSE(refused);
    EXPECT_THAT(refused.error().message, ::testing::HasSubstr("not finite"));
    EXPECT_THAT(refused.error().message, ::testing::HasSubstr("step 7 stays in force"));
    EXPECT_EQ(curvature.digest(), digest);
  }
}

TEST_P(KroneckerTest, BytesAreTheOnesPromised) {
  if (GetParam().on_device) GTEST_SKIP() << "the plain implementation keeps doubles";
  Curvature curvature = empty();
  refresh(curvature, problem_, 1, 0.5);
  EXPECT_EQ(curvature.bytes(),
            curvature_bytes(GetParam().block, factors_form(), std::size_t(GetParam().samples)));
}

TEST_P(KroneckerTest, RestoreRefusesAnotherSize) {
  Curvature curvature = empty();
  refresh(curvature, problem_, 1, 0.5);
  const std::vector<float> values = curvature.values();
  EXPECT_FALSE(empty().restore(1, 0.5, std::span(values).first(values.size() - 1), lanes_));
  Curvature restored = empty();
  ASSERT_TRUE(restored.restore(1, 0.5, values, lanes_));
  EXPECT_EQ(restored.digest(), curvature.digest());
}

std::vector<Case> cases() {
  std::vector<Case> out = {
      Case{"conv_sums", convolution_block({2, 4, 6, 5, 3, 3, 1, 1, false}), 24, 3, true},
      Case{"conv_sums_bias", convolution_block({2, 4, 6, 5, 3, 3, 1, 1, true}), 24, 6, true},
      Case{"conv_stride_bias", convolution_block({2, 5, 9, 8, 3, 3, 2, 0, true}), 12, 4, true},
      Case{"conv_1x1", convolution_block({7, 6, 4, 4, 1, 1, 1, 0, false}), 12, 3, true},
      Case{"conv_raw_bias", convolution_block({5, 3, 3, 3, 3, 3, 1, 1, true}), 12, 6, false},
      Case{"conv_many_columns", convolution_block({1, 3, 30, 30, 3, 3, 1, 1, true}), 6, 1, true},
      Case{"linear_raw", testing::linear_block(30, 7, false), 24, 6, false},
      Case{"linear_raw_bias", testing::linear_block(30, 7, true), 24, 6, false},
      Case{"linear_sums_bias", testing::linear_block(9, 4, true), 60, 2, true},
      Case{"linear_tall", testing::linear_block(2, 40, true), 70, 5, false}};
  const std::size_t count = out.size();
  for (std::size_t i = 0; i < count; ++i) {
    Case there = out[i];
    there.name += "_on_device";
    there.on_device = true;
    out.push_back(std::move(there));
  }
  return out;
}

INSTANTIATE_TEST_SUITE_P(Blocks, KroneckerTest, ::testing::ValuesIn(cases()),
                         [](const auto& test) { return test.param.name; });

TEST(KroneckerBlocks, OfRealSizeAgreeForAnyNumberOfLanes) {
  std::mt19937_64 random(testing::fresh_seed());
  for (const Block& block :
       {convolution_block({16, 32, 14, 14, 3, 3, 1, 1, true}), testing::linear_block(400, 90, true)}) {
    const Problem problem = random_problem(block, 32, random);
    std::vector<std::vector<float>> directions;
    for (const int lanes : {1, 3}) {
      Curvature curvature = with_fragments(problem, factors_form(), 8, 1, 0.5);
      Lanes some(lanes);
      ASSERT_TRUE(curvature.accept(some));
      std::vector<float> d(problem.g.size());
      EXPECT_GT(curvature.precondition(problem.g, d, 1, some), 0);
      directions.push_back(std::move(d));
    }
    EXPECT_EQ(directions[0], directions[1]);
  }
}

}  // namespace
}  // namespace seng::kronecker_test
