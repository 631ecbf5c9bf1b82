#include "actors/engine/convolution_choices.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace seng {
namespace {

using ::testing::HasSubstr;

ConvolutionKey key_of(ConvolutionPass pass, int batch) {
  return {pass, Arithmetic::kBf16, true, batch, {64, 56, 50, 128, 28, 25, 3, 3, 2, 1}};
}

TEST(ConvolutionChoices, AKeySaysAllThatTheAlgorithmDependsOn) {
  const ConvolutionKey key = key_of(ConvolutionPass::kForward, 32);
  EXPECT_EQ(key_text(key), "forward bf16 nhwc 32x64x56x50 128x3x3 s2 p1");
  const auto differs = [&](auto change) {
    ConvolutionKey other = key;
    change(other);
    EXPECT_NE(key_text(other), key_text(key));
  };
  differs([](ConvolutionKey& k) { k.pass = ConvolutionPass::kBackwardData; });
  differs([](ConvolutionKey& k) { k.pass = ConvolutionPass::kBackwardWeights; });
  differs([](ConvolutionKey& k) { k.precision = Arithmetic::kTf32; });
  differs([](ConvolutionKey& k) { k.channels_last = false; });
  differs([](ConvolutionKey& k) { k.batch = 3; });
  differs([](ConvolutionKey& k) { k.geometry.channels_in = 4; });
  differs([](ConvolutionKey& k) { k.geometry.height_in = 4; });
  differs([](ConvolutionKey& k) { k.geometry.width_in = 4; });
  differs([](ConvolutionKey& k) { k.geometry.channels_out = 4; });
  differs([](ConvolutionKey& k) { k.geometry.kernel_h = 4; });
  differs([](ConvolutionKey& k) { k.geometry.kernel_w = 4; });
  differs([](ConvolutionKey& k) { k.geometry.stride = 4; });
  differs([](ConvolutionKey& k) { k.geometry.padding = 4; });
}

TEST(ConvolutionChoices, TheTableComesBackFromItsText) {
  ConvolutionChoices choices("NVIDIA H100 80GB HBM3");
  EXPECT_EQ(ConvolutionChoices::parse(choices.to_text())->size(), 0u);
  choices.set(key_of(ConvolutionPass::kForward, 32), 6);
  choices.set(key_of(ConvolutionPass::kBackwardData, 32), 1);
  choices.set(key_of(ConvolutionPass::kBackwardWeights, 4), 0);
  const std::string text = choices.to_text();
  EXPECT_EQ(text,
            "NVIDIA H100 80GB HBM3; data bf16 nhwc 32x64x56x50 128x3x3 s2 p1 = 1; forward bf16 nhwc "
            "32x64x56x50 128x3x3 s2 p1 = 6; weights bf16 nhwc 4x64x56x50 128x3x3 s2 p1 = 0");
  const auto again = ConvolutionChoices::parse(text);
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(again->to_text(), text);
  EXPECT_EQ(again->size(), 3u);
  EXPECT_EQ(again->find(key_of(ConvolutionPass::kForward, 32)), 6);
  EXPECT_EQ(again->find(key_of(ConvolutionPass::kForward, 4)), std::nullopt);
  EXPECT_TRUE(again->is_of("NVIDIA H100 80GB HBM3"));
  EXPECT_FALSE(again->is_of("NVIDIA H100"));
}

TEST(ConvolutionChoices, ADevicesNameMayBeAnything) {
  const std::string name = "a; b = 3;\n";
  ConvolutionChoices choices(name);
  choices.set(key_of(ConvolutionPass::kForward, 1), 2);
  const auto again = ConvolutionChoices::parse(choices.to_text());
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_TRUE(again->is_of(name));
  EXPECT_EQ(again->size(), 1u);
}

TEST(ConvolutionChoices, WhatIsNoTableIsRefused) {
  for (const std::string text :
       {"", "; a = 1", "H; ", "H; a", "H; a = ", "H; a = x", "H; a = 1x", "H; a = -1", "H; a = 1000",
        "H; = 1", "H; A = 1", "H; a = 1; ", "H; b = 1; a = 1", "H; a = 1; a = 1", "H\n; a = 1", "H;a = 1"}) {
    const auto choices = ConvolutionChoices::parse(text);
    ASSERT_FALSE(choices) << text;
    EXPECT_THAT(choices.error().message, HasSubstr("no table of choices"));
  }
}

}  // namespace
}  // namespace seng
