// What is kept of a sample: the choice, the unfolding, the fragments.
#include "actors/optim/fragment.h"

#include <algorithm>
#include <cmath>

#include "actors/optim/unfold.h"
#include "protocol/base/error.h"
#include "tests/actors/optim/problem.h"

namespace seng {
namespace {

using testing::convolution_block;
using testing::ConvolutionCase;
using testing::Problem;
using testing::random_problem;

TEST(RepresentationTest, CountsFloats) {
  const Block conv = convolution_block({3, 5, 8, 6, 3, 3, 2, 1, true});
  EXPECT_EQ(fragment_shape(conv, Representation::kExplicit, 4).floats, 4u * (5 * 27 + 5));
  EXPECT_EQ(fragment_shape(conv, Representation::kImplicit, 4).floats, 4u * (3 * 8 * 6 + 5 * 4 * 3));
  EXPECT_EQ(fragment_shape(conv, Representation::kImplicit, 0).floats, 0u);
  EXPECT_EQ(curvature_bytes(conv, Representation::kExplicit, 10), 10u * 140 * 4 + 10 * 10 * 8);
}

// kernel, stride, padding, sizes: all of these in every combination that has an output.
TEST(UnfoldTest, EqualsTheDefinition) {
  const std::uint64_t seed = testing::fresh_seed();
  SCOPED_TRACE("SENG_TEST_SEED=" + std::to_string(seed));
  std::mt19937_64 random(seed);
  int cases = 0;
  for (const int kernel : {1, 2, 3, 5})
    for (const int kernel_w : {1, 3, 5})
      for (const int stride : {1, 2, 3})
        for (const int padding : {0, 1, 2, 3})
          for (const auto& [height, width] : {std::pair{1, 1}, {4, 7}, {7, 5}, {9, 16}, {2, 3}}) {
            if (height + 2 * padding < kernel || width + 2 * padding < kernel_w) continue;
            const Block block =
                convolution_block({3, 1, height, width, kernel, kernel_w, stride, padding, false});
            const ConvolutionGeometry& c = block.conv;
            const std::size_t plane = std::size_t(height * width), kappa = std::size_t(block.positions),
                              ld = kappa + 3;
            const std::vector<float> input = testing::random_floats(random, 3 * plane, 5);
            const std::size_t rows = std::size_t(2 * kernel * kernel_w);
            std::vector<float> out(rows * ld, NAN);
            unfold(c, input.data(), 1, 3, out.data(), ld);
            ++cases;
            std::size_t row = 0;
            for (int ch = 1; ch < 3; ++ch)
              for (int ky = 0; ky < kernel; ++ky)
                for (int kx = 0; kx < kernel_w; ++kx, ++row)
                  for (int y = 0; y < c.height_out; ++y)
                    for (int x = 0; x < c.width_out; ++x) {
                      const int iy = y * stride + ky - padding, ix = x * stride + kx - padding;
                      const bool inside = iy >= 0 && iy < height && ix >= 0 && ix < width;
                      const float expected =
                          inside ? input[(std::size_t(ch) * plane) + std::size_t(iy * width + ix)] : 0;
                      ASSERT_EQ(out[row * ld + std::size_t(y * c.width_out + x)], expected)
                          << "kernel " << kernel << "x" << kernel_w << " stride " << stride << " padding "
                          << padding << " image " << height << "x" << width << " row " << row << " at " << y
                          << "," << x;
                    }
            for (std::size_t r = 0; r < rows; ++r)
              for (std::size_t k = kappa; k < ld; ++k)
                ASSERT_TRUE(std::isnan(out[r * ld + k])) << "wrote past a row";
          }
  EXPECT_GT(cases, 400);
}

// A row of A_i times a map of the output, either way.
TEST(UnfoldTest, OfAnOutputGivesTheSameProducts) {
  const std::uint64_t seed = testing::fresh_seed();
  SCOPED_TRACE("SENG_TEST_SEED=" + std::to_string(seed));
  std::mt19937_64 random(seed);
  for (const ConvolutionCase& each :
       {ConvolutionCase{1, 1, 7, 5, 3, 3, 1, 1, false}, ConvolutionCase{1, 1, 9, 16, 5, 3, 2, 2, false},
        ConvolutionCase{1, 1, 4, 7, 1, 1, 2, 0, false}, ConvolutionCase{1, 1, 8, 6, 3, 5, 3, 3, false},
        ConvolutionCase{1, 1, 2, 3, 5, 5, 1, 2, false}}) {
    const Block block = convolution_block(each);
    const std::size_t plane = std::size_t(each.height * each.width), kappa = std::size_t(block.positions),
                      rows = std::size_t(block.n);
    const std::vector<float> input = testing::random_floats(random, plane),
                             map = testing::random_floats(random, kappa);
    std::vector<float> of_input(rows * kappa), of_output(rows * (plane + 2), NAN);
    unfold(block.conv, input.data(), 0, 1, of_input.data(), kappa);
    unfold_output(block.conv, map.data(), of_output.data(), plane + 2);
    for (std::size_t row = 0; row < rows; ++row) {
      double one = 0, other = 0;
      for (std::size_t k = 0; k < kappa; ++k) one += double(of_input[row * kappa + k]) * map[k];
      for (std::size_t i = 0; i < plane; ++i) other += double(of_output[row * (plane + 2) + i]) * input[i];
      EXPECT_NEAR(one, other, 1e-9) << "row " << row;
      EXPECT_TRUE(std::isnan(of_output[row * (plane + 2) + plane])) << "wrote past a row";
    }
  }
}

// Many channels and few directions: the basis is unfolded, not the input. The parts of G_i and A_i are those
// of one and the same subspace: with all of G_i in it, products of the factors are u_i.
TEST(LowRankFragment, OfManyChannelsIsTheGradientWhereTheRankHoldsAllOfIt) {
  const std::uint64_t seed = testing::fresh_seed();
  SCOPED_TRACE("SENG_TEST_SEED=" + std::to_string(seed));
  std::mt19937_64 random(seed);
  for (const int stride : {1, 2}) {
    const Block block = convolution_block({24, 7, 8, 6, 3, 3, stride, 1, true});
    Problem problem = testing::random_problem(block, 2, random);
    const std::size_t m = 7, n = std::size_t(block.n), kappa = std::size_t(block.positions), p = 2;
    for (std::size_t i = 0; i < 2; ++i)  // all rows in the span of the first two
      for (std::size_t o = p; o < m; ++o)
        for (std::size_t k = 0; k < kappa; ++k) {
          float* rows = problem.gradients.data() + i * m * kappa;
          rows[o * kappa + k] = 0.5f * rows[k] - float(o) * rows[kappa + k];
        }
    const CurvatureForm form{Representation::kLowRank, int(p), RankMethod::kSvd};
    const std::vector<float> values =
        make_fragment(block, fragment_shape(block, form, 2), problem.factors(0, 2), {1, 1, 0, 0});
    for (int i = 0; i < 2; ++i) {
      const std::vector<double> expected = testing::sample_gradient(problem, i);
      const float* a = values.data() + std::size_t(i) * p * (n + 1);
      const float* g = values.data() + 2 * p * (n + 1) + std::size_t(i) * p * m;
      std::vector<float> made(expected.size());
      for (std::size_t o = 0; o < m; ++o)
        for (std::size_t j = 0; j <= n; ++j) {
          double sum = 0;
          for (std::size_t k = 0; k < p; ++k) sum += double(g[k * m + o]) * a[k * (n + 1) + j];
          made[j < n ? o * n + j : m * n + o] = float(sum);
        }
      EXPECT_FALSE(!(testing::distance(made, expected) <= 1e-5 * testing::norm(expected)));
    }
  }
}

struct FragmentCase {
  std::string name;
  Block block;
  friend void PrintTo(const FragmentCase& one, std::ostream* out) { *out << one.name; }
};

class FragmentTest : public ::testing::TestWithParam<FragmentCase> {};

TEST_P(FragmentTest, ExplicitIsTheGradientOfEachSample) {
  const std::uint64_t seed = testing::fresh_seed();
  SCOPED_TRACE("SENG_TEST_SEED=" + std::to_string(seed));
  std::mt19937_64 random(seed);
  const Problem problem = random_problem(GetParam().block, 6, random);
  const FragmentShape shape = fragment_shape(problem.block, Representation::kExplicit, 4);
  // The first 4 of the 5 samples that are offered.
  const std::vector<float> values = make_fragment(problem.block, shape, problem.factors(1, 5));
  ASSERT_EQ(values.size(), 4 * problem.block.count);
  for (int i = 0; i < 4; ++i) {
    const std::vector<float> u(values.begin() + i * std::ptrdiff_t(problem.block.count),
                               values.begin() + (i + 1) * std::ptrdiff_t(problem.block.count));
    const std::vector<double> expected = sample_gradient(problem, 1 + i);
    EXPECT_FALSE(!(testing::distance(u, expected) <= 1e-6 * testing::norm(expected))) << "sample " << i;
  }
  // A sample's values do not depend on its neighbours: alone, it has the same bits.
  const auto alone = make_fragment(problem.block, fragment_shape(problem.block, Representation::kExplicit, 1),
                                   problem.factors(3, 1));
  EXPECT_TRUE(
      std::equal(alone.begin(), alone.end(), values.begin() + 2 * std::ptrdiff_t(problem.block.count)));
}

TEST_P(FragmentTest, ImplicitIsTheFactorsAsTheyAre) {
  if (GetParam().block.kind == BlockKind::kBatchNorm) {
    EXPECT_THROW(fragment_shape(GetParam().block, Representation::kImplicit, 5), InvariantError);
    return;
  }
  std::mt19937_64 random(testing::fresh_seed());
  const Problem problem = random_problem(GetParam().block, 5, random);
  const FragmentShape shape = fragment_shape(problem.block, Representation::kImplicit, 5);
  std::vector<float> expected = problem.activations;
  expected.insert(expected.end(), problem.gradients.begin(), problem.gradients.end());
  EXPECT_EQ(make_fragment(problem.block, shape, problem.factors(0, 5)), expected);
  EXPECT_EQ(shape.floats, expected.size());
}

INSTANTIATE_TEST_SUITE_P(
    Blocks, FragmentTest,
    ::testing::Values(FragmentCase{"conv_bias", convolution_block({3, 7, 9, 6, 3, 3, 1, 1, true})},
                      FragmentCase{"conv_stride", convolution_block({2, 5, 9, 8, 5, 5, 2, 2, false})},
                      FragmentCase{"conv_1x1_stride_bias", convolution_block({4, 3, 5, 5, 1, 1, 3, 0, true})},
                      FragmentCase{"linear_bias", testing::linear_block(21, 8, true)},
                      FragmentCase{"linear", testing::linear_block(8, 21, false)},
                      FragmentCase{"norm", testing::batch_norm_block(11, 50)},
                      FragmentCase{"norm_one_position", testing::batch_norm_block(11, 1)}),
    ::testing::PrintToStringParamName());

TEST(ShortFragmentTest, TooFewSamplesIsOurOwnMistake) {
  std::mt19937_64 random(testing::fresh_seed());
  const Problem problem = random_problem(testing::linear_block(4, 3, false), 2, random);
  const FragmentShape shape = fragment_shape(problem.block, Representation::kExplicit, 3);
  EXPECT_THROW(make_fragment(problem.block, shape, problem.factors(0, 2)), InvariantError);
}

}  // namespace
}  // namespace seng
