#include "actors/optim/form_choice.h"

#include <gmock/gmock.h>

#include "tests/actors/optim/problem.h"

namespace seng {
namespace {

using testing::convolution_block;
using ::testing::HasSubstr;

Representation chosen(const Block& block, const FormOptions& options = {}) {
  return choose_forms({block}, options).value().front().representation;
}

std::size_t bytes_of(const std::vector<Block>& blocks, const std::vector<CurvatureForm>& forms,
                     std::size_t samples) {
  std::size_t sum = 0;
  for (std::size_t i = 0; i < blocks.size(); ++i) sum += curvature_bytes(blocks[i], forms[i], samples);
  return sum;
}

const Block kLenetConv2 = convolution_block({32, 64, 14, 14, 3, 3, 1, 1, false});
const Block kStage2 = convolution_block({128, 128, 16, 16, 3, 3, 1, 1, false});
const Block kStage3 = convolution_block({256, 256, 8, 8, 3, 3, 1, 1, false});
const Block kStage4 = convolution_block({512, 512, 4, 4, 3, 3, 1, 1, false});

TEST(FormChoice, TakesTheQuickest) {
  EXPECT_EQ(chosen(convolution_block({1, 32, 28, 28, 3, 3, 1, 1, false})), Representation::kExplicit);
  EXPECT_EQ(chosen(kLenetConv2), Representation::kExplicit);
  EXPECT_EQ(chosen(testing::linear_block(3136, 128, true)), Representation::kImplicit);
  EXPECT_EQ(chosen(testing::linear_block(128, 10, true)), Representation::kImplicit);
  EXPECT_EQ(chosen(kStage2), Representation::kExplicit);
  EXPECT_EQ(chosen(kStage4), Representation::kImplicit);
  EXPECT_EQ(chosen(testing::batch_norm_block(8, 100)), Representation::kExplicit);
  FormOptions scale;
  scale.batch_norm_scale = true;
  EXPECT_EQ(chosen(testing::batch_norm_block(8, 100), scale), Representation::kScale);
  EXPECT_EQ(chosen(testing::linear_block(3136, 128, true), scale), Representation::kImplicit);
}

TEST(FormChoice, DoesAsItIsTold) {
  FormOptions options;
  options.representation = "explicit";
  EXPECT_EQ(chosen(kStage4, options), Representation::kExplicit);
  options.representation = "implicit";
  EXPECT_EQ(chosen(kLenetConv2, options), Representation::kImplicit);
  EXPECT_EQ(chosen(testing::batch_norm_block(8, 100), options), Representation::kExplicit);
}

TEST(FormChoice, CutsRanksBelowTheFullOneOnly) {
  const std::vector<Block> blocks = {kStage4, testing::linear_block(512, 10, true), kStage4};
  const std::vector<int> ranks = {4, 4, 16};
  FormOptions options;
  options.ranks = ranks;
  options.rank_method = RankMethod::kSvd;
  const auto forms = choose_forms(blocks, options).value();
  EXPECT_EQ(forms[0], CurvatureForm(Representation::kLowRank, 4, RankMethod::kSvd));
  options.representation = "implicit";
  EXPECT_EQ(choose_forms(blocks, options).value()[0], forms[0]);
  options.representation = "auto";
  EXPECT_EQ(forms[1], CurvatureForm(Representation::kImplicit));
  EXPECT_EQ(forms[2], CurvatureForm(Representation::kImplicit));  // 16 positions
}

TEST(FormChoice, StaysWithinTheMemory) {
  const std::vector<Block> blocks = {kLenetConv2, kStage2, kStage3, kStage3, kStage4};
  FormOptions options;
  const std::size_t wanted = bytes_of(blocks, choose_forms(blocks, options).value(), options.samples);
  options.representation = "implicit";
  std::size_t least = 0;
  for (const Block& block : blocks)
    least += std::min(curvature_bytes(block, Representation::kExplicit, options.samples),
                      curvature_bytes(block, Representation::kImplicit, options.samples));
  options.representation = "auto";
  for (const double share : {0.9, 0.5, 0.25, 0.0}) {
    options.memory_bytes = least + std::size_t(share * double(wanted - least));
    const auto forms = choose_forms(blocks, options);
    ASSERT_TRUE(forms) << forms.error().message;
    EXPECT_LE(bytes_of(blocks, *forms, options.samples), options.memory_bytes);
  }
  options.memory_bytes = least - 1;
  const auto refused = choose_forms(blocks, options);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("do not hold the curvature of 256 samples"));
}

TEST(FormChoice, KfacHasOneForm) {
  const std::vector<Block> blocks = {kLenetConv2, testing::linear_block(100, 10, true),
                                     testing::batch_norm_block(8, 4)};
  FormOptions options;
  options.factor_sets = 2;
  const auto forms = choose_forms(blocks, options).value();
  for (const std::size_t i : {0, 1}) {
    EXPECT_EQ(forms[i].representation, Representation::kKronecker);
    EXPECT_EQ(forms[i].factor_sets, 2);
    EXPECT_GT(form_cost(blocks[i], forms[i], 256).refresh_seconds, 0);
  }
  EXPECT_EQ(forms[2], CurvatureForm(Representation::kExplicit));
  // Two packed sets, eigenvectors and eigenvalues.
  EXPECT_EQ(curvature_bytes(blocks[1], forms[1], 256),
            4 * (2 * (101 * 102 / 2 + 10 * 11 / 2) + 101 * 102 + 10 * 11));
  options.memory_bytes = 1000;
  const auto refused = choose_forms(blocks, options);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("allow more memory"));
}

TEST(FormChoice, RareRefreshesMakeThemMatterLess) {
  const FormCost cost = form_cost(kLenetConv2, Representation::kExplicit, 256);
  // What the samples take, beside vectors and the N x N system.
  EXPECT_NEAR(cost.step_seconds / (8.0 * 256 * 64 * 288 / 1e10), 1, 0.03);
  EXPECT_NEAR(cost.step_bytes / (8.0 * 256 * 64 * 288), 1, 0.03);
  EXPECT_NEAR(cost.step_operations / (4.0 * 256 * 64 * 288), 1, 0.03);
  EXPECT_GT(cost.refresh_seconds, 256.0 * 256 * 64 * 288 / 1e11);
  EXPECT_EQ(cost.bytes, curvature_bytes(kLenetConv2, Representation::kExplicit, 256));
}

}  // namespace
}  // namespace seng
