// Curvature that is stored, or travels, as bfloat16: how far the direction is from the exact one, and what is
// kept.
#include <cmath>
#include <cstring>

#include "actors/optim/curvature.h"
#include "tests/actors/optim/problem.h"

namespace seng::bf16_curvature_test {
namespace {

using testing::DenseFisher;
using testing::Problem;

constexpr int kSamples = 48, kMicros = 6;

struct Kind {
  std::string name;
  Block block;
  CurvatureForm form;
  friend void PrintTo(const Kind& one, std::ostream* out) { *out << one.name; }
};

class Bf16Curvature : public ::testing::TestWithParam<Kind> {
 protected:
  Bf16Curvature()
      : seed_(testing::fresh_seed()), trace_(__FILE__, __LINE__, "SENG_TEST_SEED=" + std::to_string(seed_)) {
    std::mt19937_64 random(seed_);
    problem_ = testing::random_problem(GetParam().block, kSamples, random);
  }

  CurvatureOptions options(Precision stored, Precision wire) const {
    CurvatureOptions options;
    options.micro_batches = kMicros;
    options.samples_per_micro = kSamples / kMicros;
    options.form = GetParam().form;
    options.stored = stored;
    options.wire = wire;
    return options;
  }
  Curvature accepted(Precision stored, Precision wire, double lambda, int lanes = 2) const {
    Curvature curvature(problem_.block, options(stored, wire));
    const FragmentShape shape = fragment_shape(problem_.block, GetParam().form, kSamples / kMicros, wire);
    curvature.begin_refresh(7, lambda);
    for (int micro = 0; micro < kMicros; ++micro) {
      const auto values = make_fragment(problem_.block, shape,
                                        problem_.factors(micro * kSamples / kMicros, kSamples / kMicros));
      EXPECT_EQ(values.size(), shape.words);
      const Status added = curvature.add_fragment(std::uint32_t(micro), values);
      EXPECT_TRUE(added) << added.error().message;
    }
    Lanes few(lanes);
    const Status status = curvature.accept(few);
    EXPECT_TRUE(status) << status.error().message;
    return curvature;
  }
  std::vector<float> direction(Curvature& curvature, int lanes = 2) const {
    std::vector<float> d(problem_.g.size(), NAN);
    Lanes few(lanes);
    curvature.precondition(problem_.g, d, 1.0, few);
    return d;
  }

  const std::uint64_t seed_;
  ::testing::ScopedTrace trace_;
  Problem problem_;
};

// Each stored value has a relative error of at most e = 2^-8, so U = [u_i]/sqrt(N) becomes U + E with |E|_F
// <= e |U|_F (a product of two rounded factors: 2e), and to first order
//   dd = -F^-1 (E U^T + U E^T) d,  |dd| / |d| <= 2 * 2e |U|_F s_max / lambda.
// At lambda = s_max^2 = |F| that is 4e |U|_F / s_max; roundings of random sign stay far below. Below 2^-13 of
// |d| nothing would have been rounded.
TEST_P(Bf16Curvature, ErrorIsWhatTheRoundingPredicts) {
  const DenseFisher fisher(problem_);
  const double lambda = fisher.norm();
  const std::vector<double> expected = fisher.solve(lambda, problem_.g);
  double trace = 0;
  for (std::size_t i = 0; i < fisher.count; ++i) trace += fisher.matrix[i * fisher.count + i];
  const double bound = 4 * std::pow(2.0, -8) * std::sqrt(trace / fisher.norm());
  Curvature exact = accepted(Precision::kF32, Precision::kF32, lambda);
  Curvature rounded = accepted(Precision::kBf16, Precision::kF32, lambda);
  const double size = testing::norm(expected);
  EXPECT_FALSE(!(testing::distance(direction(exact), expected) <= 1e-5 * size));
  const double error = testing::distance(direction(rounded), expected) / size;
  EXPECT_FALSE(!(error <= bound)) << error << " of at most " << bound;
  EXPECT_GT(error, std::pow(2.0, -13));
}

// Rounding once, by whoever sends or by whoever keeps, gives the same values; a rounded fragment kept as
// floats too.
TEST_P(Bf16Curvature, WhoRoundsDoesNotMatter) {
  Curvature kept = accepted(Precision::kBf16, Precision::kF32, 0.5),
            both = accepted(Precision::kBf16, Precision::kBf16, 0.5),
            sent = accepted(Precision::kF32, Precision::kBf16, 0.5);
  EXPECT_EQ(kept.digest(), both.digest());
  EXPECT_EQ(kept.values(), sent.values());
  EXPECT_NE(kept.digest(), sent.digest()) << "over the values as they are stored";
  EXPECT_EQ(direction(kept), direction(both));
  const std::vector<float> a = direction(kept), b = direction(sent);
  const std::vector<double> wide(b.begin(), b.end());
  const double rounded = testing::bf16_product_error(GetParam().form, Precision::kBf16, problem_.g, 0.5, b);
  EXPECT_LE(testing::distance(a, wide), 1e-5 * testing::norm(b) + rounded) << "products read what is stored";
  for (const float value : kept.values()) EXPECT_EQ(value, widen(narrow(value)));
}

TEST_P(Bf16Curvature, BitsDoNotDependOnLanes) {
  Curvature one = accepted(Precision::kBf16, Precision::kBf16, 0.5, 1);
  const std::vector<float> expected = direction(one, 1);
  for (const int lanes : {2, 3}) {
    Curvature many = accepted(Precision::kBf16, Precision::kBf16, 0.5, lanes);
    const std::vector<float> got = direction(many, lanes);
    EXPECT_EQ(std::memcmp(got.data(), expected.data(), got.size() * sizeof(float)), 0) << lanes;
  }
}

TEST_P(Bf16Curvature, TakesHalfTheBytesAndComesBackWithTheSameBits) {
  Curvature original = accepted(Precision::kBf16, Precision::kBf16, 0.5);
  const std::size_t values = original.values().size();
  EXPECT_EQ(original.bytes(), curvature_bytes(problem_.block, GetParam().form, kSamples, Precision::kBf16));
  EXPECT_EQ(original.bytes(), 2 * values + sizeof(double) * kSamples * kSamples);
  const auto version = original.versions().front();
  EXPECT_EQ(version.first.size() + version.second.size(), 2 * values);
  Curvature restored(problem_.block, options(Precision::kBf16, Precision::kBf16));
  Lanes lanes(2);
  ASSERT_TRUE(restored.restore(7, 0.5, original.values(), lanes));
  EXPECT_EQ(restored.digest(), original.digest());
  EXPECT_EQ(direction(restored), direction(original));
  Curvature pulled(problem_.block, options(Precision::kBf16, Precision::kBf16));
  const Curvature::Room room = pulled.begin_version(7, 0.5);
  ASSERT_EQ(room.first.size(), version.first.size());
  ASSERT_EQ(room.second.size(), version.second.size());
  std::copy(version.first.begin(), version.first.end(), room.first.begin());
  std::copy(version.second.begin(), version.second.end(), room.second.begin());
  ASSERT_TRUE(pulled.finish_version());
  EXPECT_EQ(pulled.digest(), original.digest());
  EXPECT_EQ(direction(pulled), direction(original));
}

TEST_P(Bf16Curvature, WhatBecomesInfiniteIsRefused) {
  Curvature curvature(problem_.block, options(Precision::kBf16, Precision::kF32));
  const FragmentShape shape = fragment_shape(problem_.block, GetParam().form, kSamples / kMicros);
  curvature.begin_refresh(7, 0.5);
  for (std::uint32_t micro = 0; micro < kMicros; ++micro) {
    std::vector<float> values(shape.floats, 1.0f);
    if (micro == 3) values[shape.floats / 2] = 3.4e38f;  // finite, but beyond the largest bf16
    ASSERT_TRUE(curvature.add_fragment(micro, values));
  }
  Lanes lanes(2);
  const Status refused = curvature.accept(lanes);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, ::testing::HasSubstr("not finite"));
}

const Block kConvolution = testing::convolution_block({3, 6, 7, 5, 3, 3, 1, 1, true});
INSTANTIATE_TEST_SUITE_P(
    Kinds, Bf16Curvature,
    ::testing::Values(Kind{"explicit_convolution", kConvolution, Representation::kExplicit},
                      Kind{"implicit_convolution", kConvolution, Representation::kImplicit},
                      Kind{"implicit_convolution_by_pairs",
                           testing::convolution_block({6, 8, 3, 3, 3, 3, 2, 1, false}),
                           Representation::kImplicit},
                      Kind{"low_rank", kConvolution, {Representation::kLowRank, 6, RankMethod::kSvd}},
                      Kind{"explicit_linear", testing::linear_block(37, 9, true), Representation::kExplicit},
                      Kind{"implicit_linear", testing::linear_block(137, 9, true), Representation::kImplicit},
                      Kind{"batch_norm", testing::batch_norm_block(19, 12), Representation::kExplicit}),
    [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace seng::bf16_curvature_test
