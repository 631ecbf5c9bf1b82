// Sketches, approximate products and the local mode. Estimates are judged by their mean over many keys: it
// comes to the exact value, at the rate 1/sqrt(trials).
#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include <gtest/gtest.h>

#include "actors/optim/approximate_columns.h"
#include "tests/actors/optim/problem.h"

namespace seng::approximation_test {
namespace {

using testing::convolution_block;
using testing::DenseFisher;
using testing::Problem;
using testing::random_problem;

struct NamedKind {
  SketchKind kind;
  const char* name;
  friend void PrintTo(const NamedKind& one, std::ostream* out) { *out << one.name; }
};

class SketchTest : public ::testing::TestWithParam<NamedKind> {};

TEST_P(SketchTest, InnerProductsAreRightInTheMean) {
  const std::uint64_t seed = testing::fresh_seed();
  SCOPED_TRACE("SENG_TEST_SEED=" + std::to_string(seed));
  std::mt19937_64 random(seed);
  constexpr std::size_t kWidth = 200, kRows = 40;
  const std::vector<float> x = testing::random_floats(random, kWidth, 0.3),
                           y = testing::random_floats(random, kWidth, 0.5);
  const double exact = dot(x.data(), y.data(), kWidth);
  constexpr int kTrials = 4000;
  double sum = 0, squares = 0;
  for (int t = 0; t < kTrials; ++t) {
    const Sketch omega(GetParam().kind, kRows, kWidth,
                       Random(seed, RandomPurpose::kSketch, std::uint64_t(t)));
    ASSERT_EQ(omega.rows(), kRows);
    float a[kRows], b[kRows];
    omega.apply(x.data(), 1, a);
    omega.apply(y.data(), 1, b);
    const double estimate = dot(a, b, kRows);
    sum += estimate;
    squares += (estimate - exact) * (estimate - exact);
  }
  const double deviation = std::sqrt(squares / kTrials);
  EXPECT_GT(deviation, 0.01 * std::abs(exact));  // it is a sketch
  EXPECT_FALSE(!(std::abs(sum / kTrials - exact) <= 5 * deviation / std::sqrt(double(kTrials))));
}

TEST_P(SketchTest, WithAllRowsItIsTheIdentity) {
  std::mt19937_64 random(testing::fresh_seed());
  const std::vector<float> x = testing::random_floats(random, 3 * 17);
  const Sketch omega(GetParam().kind, 17, 17, Random(1, RandomPurpose::kSketch));
  std::vector<float> out(17);
  omega.apply(x.data(), 3, out.data());
  for (std::size_t j = 0; j < 17; ++j) EXPECT_EQ(out[j], x[3 * j]);
}

INSTANTIATE_TEST_SUITE_P(Kinds, SketchTest,
                         ::testing::Values(NamedKind{SketchKind::kRows, "rows"},
                                           NamedKind{SketchKind::kCountSketch, "countsketch"}),
                         ::testing::PrintToStringParamName());

struct Case {
  Block block;
  CurvatureForm form;
};
std::vector<Case> factored() {
  const Block conv = convolution_block({3, 8, 6, 6, 3, 3, 1, 1, true});
  return {{testing::linear_block(30, 12, true), Representation::kImplicit},
          {convolution_block({3, 8, 6, 6, 3, 3, 1, 1, false}), Representation::kImplicit},
          {conv, {Representation::kLowRank, 3}}};
}
std::vector<Case> all_cases() {
  std::vector<Case> out = factored();
  out.push_back({testing::linear_block(30, 12, true), Representation::kExplicit});
  return out;
}

constexpr int kSamples = 12;

Curvature curvature_of(const Problem& problem, CurvatureOptions options, double lambda) {
  options.micro_batches = 4;
  options.samples_per_micro = kSamples / 4;
  Curvature out(problem.block, options);
  out.begin_refresh(3, lambda);
  const FragmentShape shape = fragment_shape(problem.block, options.form, kSamples / 4);
  for (int v = 0; v < 4; ++v)
    EXPECT_TRUE(out.add_fragment(
        std::uint32_t(v),
        make_fragment(problem.block, shape, problem.factors(v * kSamples / 4, kSamples / 4))));
  Lanes lanes(2);
  const Status accepted = out.accept(lanes);
  EXPECT_TRUE(accepted) << accepted.error().message;
  return out;
}

std::vector<float> direction(const Problem& problem, const CurvatureOptions& options, double lambda,
                             int lanes_count = 2) {
  Curvature curvature = curvature_of(problem, options, lambda);
  Lanes lanes(lanes_count);
  std::vector<float> d(problem.g.size(), NAN);
  const double inner = curvature.precondition(problem.g, d, 1.0, lanes);
  EXPECT_NEAR(inner, std::inner_product(d.begin(), d.end(), problem.g.begin(), 0.0),
              1e-5 * testing::norm(d) * testing::norm(problem.g));
  return d;
}

// With b given, the mean of many products R b is the exact one: d is linear in R b, and b does not depend on
// the key.
TEST(Approximations, TheCountSketchedProductIsRightInTheMean) {
  const std::uint64_t seed = testing::fresh_seed();
  SCOPED_TRACE("SENG_TEST_SEED=" + std::to_string(seed));
  std::mt19937_64 random(seed);
  for (const Case& c : factored()) {
    SCOPED_TRACE(std::string(representation_name(c.form.representation)) + " " + c.block.name);
    const Problem problem = random_problem(c.block, kSamples, random);
    const double lambda = 5;
    CurvatureOptions options{.form = c.form};
    const std::vector<float> exact = direction(problem, options, lambda);
    options.product = {ProductKind::kCountSketch, 10};
    constexpr int kTrials = 600;
    std::vector<double> mean(exact.size(), 0.0);
    double spread = 0;
    for (int t = 0; t < kTrials; ++t) {
      options.seed = seed + std::uint64_t(t);
      const std::vector<float> d = direction(problem, options, lambda, 1);
      for (std::size_t j = 0; j < d.size(); ++j) {
        mean[j] += double(d[j]) / kTrials;
        spread += std::pow(double(d[j]) - double(exact[j]), 2) / kTrials;
      }
    }
    const double error = testing::distance(exact, mean);
    EXPECT_GT(std::sqrt(spread), 0.02 * testing::norm(exact));
    EXPECT_FALSE(!(error <= 2 * std::sqrt(spread / kTrials))) << error / std::sqrt(spread / kTrials);
    // The authors' shortcut does not come to it by any mean: it has no randomness, and its cross terms stay.
    options.product = {ProductKind::kAuthors, 0};
    const std::vector<float> theirs = direction(problem, options, lambda);
    const std::vector<double> wanted(exact.begin(), exact.end());
    EXPECT_FALSE(!(testing::distance(theirs, wanted) > 10 * error));
  }
}

TEST(Approximations, BucketsAreDrawnByKindAndKey) {
  const Case c = factored()[2];  // of rank 3
  const SampleStore store{.count = kSamples};
  const auto draw = [&](ProductKind kind, std::uint64_t refresh) {
    return draw_buckets({c.block, c.form, store, {5, refresh, 1}}, {kind, 10});
  };
  const SampleBuckets ours = draw(ProductKind::kCountSketch, 3);
  EXPECT_EQ(ours.count, 10u);
  EXPECT_TRUE(ours.signs_of_b);
  ASSERT_EQ(ours.of_pair.size(), 3u * kSamples);
  EXPECT_LT(*std::max_element(ours.of_pair.begin(), ours.of_pair.end()), 10u);
  EXPECT_EQ(draw(ProductKind::kCountSketch, 3).of_pair, ours.of_pair);
  EXPECT_NE(draw(ProductKind::kCountSketch, 4).of_pair, ours.of_pair);
  const double b[] = {4, -9};
  EXPECT_EQ(ours.x(b, 2), (std::vector<float>{2, 3}));
  EXPECT_EQ(ours.y(b, 2), (std::vector<float>{2, -3}));

  const SampleBuckets theirs = draw(ProductKind::kAuthors, 3);
  EXPECT_EQ(theirs.count, 3u);
  EXPECT_EQ(theirs.of_pair[4], 1u);
  EXPECT_EQ(theirs.sign, std::vector<float>(3u * kSamples, 1));
  EXPECT_EQ(theirs.y(b, 2), (std::vector<float>{2, 3}));
}

// Of an explicit block Omega picks coordinates, of factors rows of G and of A, with a share of the scale on
// each side: R^T R and R^T g come out right in the mean either way.
TEST(Approximations, SketchedProductsAreRightInTheMean) {
  const std::uint64_t seed = testing::fresh_seed();
  SCOPED_TRACE("SENG_TEST_SEED=" + std::to_string(seed));
  std::mt19937_64 random(seed);
  Lanes lanes(1);
  for (const Case& c : all_cases()) {
    const Problem problem = random_problem(c.block, kSamples, random);
    const SampleSize size = sample_size(c.block, c.form);
    SampleStore store = make_store(kSamples, size, Precision::kF32);
    const std::vector<float> values =
        make_fragment(c.block, fragment_shape(c.block, c.form, kSamples), problem.factors(0, kSamples));
    store.first.put(0, Precision::kF32, values.data(), 0, kSamples * size.first);
    if (size.second > 0)
      store.second.put(0, Precision::kF32, values.data(), kSamples * size.first, kSamples * size.second);
    // The lower triangle of R^T R, then R^T g.
    const auto products = [&](const GradientColumns& columns) {
      std::vector<double> gram(kSamples * kSamples), c_g(kSamples), out;
      columns.gram(gram.data(), lanes);
      columns.project(problem.g, c_g.data(), lanes);
      for (int i = 0; i < kSamples; ++i)
        out.insert(out.end(), &gram[i * kSamples], &gram[i * kSamples + i + 1]);
      out.insert(out.end(), c_g.begin(), c_g.end());
      return out;
    };
    const std::vector<double> exact = products(*make_columns(c.block, c.form, store));
    for (const SketchKind kind : {SketchKind::kRows, SketchKind::kCountSketch}) {
      SCOPED_TRACE(std::string(representation_name(c.form.representation)) + " " + c.block.name +
                   (kind == SketchKind::kRows ? " rows" : " countsketch"));
      constexpr int kTrials = 400;
      std::vector<double> off(exact.size(), 0.0);  // of the mean
      double spread = 0;
      for (int t = 0; t < kTrials; ++t) {
        const auto columns = sketched_columns(make_columns(c.block, c.form, store),
                                              {c.block, c.form, store, {seed, std::uint64_t(t), 0}, nullptr},
                                              {kind, c.block.count / 4});
        const std::vector<double> estimate = products(*columns);
        for (std::size_t j = 0; j < exact.size(); ++j) {
          off[j] += (estimate[j] - exact[j]) / kTrials;
          spread += std::pow(estimate[j] - exact[j], 2) / kTrials;
        }
      }
      EXPECT_GT(std::sqrt(spread), 0.02 * testing::norm(exact));
      EXPECT_FALSE(!(testing::norm(off) <= 4.5 * std::sqrt(spread / kTrials)))
          << testing::norm(off) / std::sqrt(spread / kTrials) << ", relative "
          << testing::norm(off) / testing::norm(exact);
    }
  }
}

// The sketched system: its Gram matrix and right side have the exact ones as mean, so that with more rows the
// direction comes to the exact one.
TEST(Approximations, SketchedDirectionsComeToTheExactOne) {
  const std::uint64_t seed = testing::fresh_seed();
  SCOPED_TRACE("SENG_TEST_SEED=" + std::to_string(seed));
  std::mt19937_64 random(seed);
  for (const Case& c : all_cases()) {
    const Problem problem = random_problem(c.block, kSamples, random);
    const DenseFisher fisher(problem);
    const double lambda = 0.3 * fisher.norm();
    CurvatureOptions options{.form = c.form};
    const std::vector<float> exact = direction(problem, options, lambda);
    const std::vector<double> wanted(exact.begin(), exact.end());
    for (const SketchKind kind : {SketchKind::kRows, SketchKind::kCountSketch}) {
      SCOPED_TRACE(std::string(representation_name(c.form.representation)) + " " + c.block.name +
                   (kind == SketchKind::kRows ? " rows" : " countsketch"));
      const auto error = [&](std::size_t rows) {
        options.sketch = {kind, rows};
        double sum = 0;
        constexpr int kTrials = 40;
        for (int t = 0; t < kTrials; ++t) {
          options.seed = seed + std::uint64_t(t);
          sum += testing::distance(direction(problem, options, lambda, 1), wanted) / testing::norm(wanted) /
                 kTrials;
        }
        return sum;
      };
      const double few = error(c.block.count / 8), many = error(c.block.count / 2),
                   all = error(c.block.count);
      EXPECT_FALSE(!(many < few)) << many << " " << few;
      EXPECT_FALSE(!(many < 0.5)) << many;
      EXPECT_FALSE(!(all <= 1e-6)) << all;
    }
  }
}

TEST(Approximations, BitsDoNotDependOnLanes) {
  std::mt19937_64 random(testing::fresh_seed());
  for (const Case& c : all_cases()) {
    const Problem problem = random_problem(c.block, kSamples, random);
    CurvatureOptions options{.form = c.form};
    options.sketch = {SketchKind::kCountSketch, 50};
    options.product = {ProductKind::kCountSketch, 7};
    options.seed = 5;
    const std::vector<float> one = direction(problem, options, 0.5, 1),
                             three = direction(problem, options, 0.5, 3);
    EXPECT_EQ(std::memcmp(one.data(), three.data(), one.size() * sizeof(float)), 0);
  }
}

// d = 1/M sum of (lambda I + U_w U_w^T)^-1 g with each worker's own samples.
TEST(Approximations, TheLocalModeAveragesTheWorkersDirections) {
  const std::uint64_t seed = testing::fresh_seed();
  SCOPED_TRACE("SENG_TEST_SEED=" + std::to_string(seed));
  std::mt19937_64 random(seed);
  for (const Case& c : all_cases()) {
    if (c.form.representation == Representation::kLowRank) continue;  // cut: no dense reference here
    const Problem problem = random_problem(c.block, kSamples, random);
    const double lambda = DenseFisher(problem).norm();
    for (const int workers : {2, 4}) {
      std::vector<double> expected(problem.g.size(), 0.0);
      for (int w = 0; w < workers; ++w) {
        Problem own = problem;
        own.samples = kSamples / workers;
        const SampleFactors first = problem.factors(w * own.samples, own.samples);
        own.activations.assign(first.activations, problem.activations.data() + problem.activations.size());
        own.gradients.assign(first.gradients, problem.gradients.data() + problem.gradients.size());
        const std::vector<double> d = DenseFisher(own).solve(lambda, problem.g);
        for (std::size_t j = 0; j < d.size(); ++j) expected[j] += d[j] / workers;
      }
      CurvatureOptions options{.form = c.form};
      options.workers = workers;
      const std::vector<float> d = direction(problem, options, lambda);
      EXPECT_FALSE(!(testing::distance(d, expected) <= 1e-5 * testing::norm(expected)));
    }
  }
}

}  // namespace
}  // namespace seng::approximation_test
