// Choosing by measured times, without a device; and on the emulated one, whose times are known.
#include "actors/engine/convolution_tuner.h"

#include <cstdlib>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "actors/engine/cuda_module.h"

namespace seng {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

using Runs = std::vector<std::vector<double>>;

const ConvolutionKey kKey = {
    ConvolutionPass::kForward, Arithmetic::kF32, true, 2, {2, 8, 8, 4, 8, 8, 3, 3, 1, 1}};

TEST(Median, IsNotMovedBySingleRuns) {
  EXPECT_EQ(median({3}), 3);
  EXPECT_EQ(median({9, 1, 2}), 2);
  EXPECT_EQ(median({4, 1, 1000, 2}), 3);
}

TEST(Fastest, IsTheLeastMedian) {
  EXPECT_EQ(fastest(Runs{{4, 4, 4}, {3, 3, 3}, {5, 5, 5}}), 1u);
  EXPECT_EQ(fastest(Runs{{4, 4, 4}, {1, 9, 9}}), 0u);
  EXPECT_EQ(fastest(Runs{{4, 4, 4}, {3.99, 3.99, 3.99}}), 0u) << "noise";
  EXPECT_EQ(fastest(Runs{{4}, {3.1}, {3}}), 2u);
  EXPECT_EQ(fastest(Runs{{}, {3}, {2}}), 2u);
  EXPECT_EQ(fastest(Runs{{}, {}, {2}}), 2u);
  EXPECT_EQ(fastest(Runs{{}, {}}), 0u);
}

TEST(ConvolutionTuner, MeasuresEachDistinctConvolutionOnce) {
  ConvolutionTuner tuner("D");
  std::vector<int> timed;
  const auto time = [&](int algorithm) {
    timed.push_back(algorithm);
    return std::vector<double>{algorithm == 7 ? 3.0 : 4.0};
  };
  EXPECT_EQ(tuner.choose(kKey, "D", {1, 7}, time), 7);
  EXPECT_EQ(tuner.choose(kKey, "D", {1, 7}, time), 7);
  EXPECT_THAT(timed, ElementsAre(1, 7));
  EXPECT_EQ(tuner.candidates(), 2u);
  EXPECT_EQ(tuner.expected_ms(), 8);
  EXPECT_EQ(tuner.chosen_ms(), 6);
  EXPECT_EQ(tuner.choices().find(kKey), 7);
  ConvolutionKey other = kKey;
  other.batch = 4;
  EXPECT_EQ(tuner.choose(other, "D", {1, 7}, [](int) { return std::vector<double>{}; }), 1) << "none can run";
  EXPECT_EQ(tuner.choices().find(other), 1) << "the table is whole";
}

TEST(TunedConvolutions, GoByTheTable) {
  ConvolutionChoices choices("D");
  choices.set(kKey, 7);
  TunedConvolutions tuned(choices);
  const auto never = [](int) -> std::vector<double> { throw std::logic_error("nobody measures"); };
  EXPECT_EQ(tuned.choose(kKey, "D", {1, 7}, never), 7);
  EXPECT_EQ(tuned.shortfall(), "");
  EXPECT_EQ(tuned.choose(kKey, "D", {3, 1}, never), 3) << "7 is not allowed here";
  ConvolutionKey other = kKey;
  other.pass = ConvolutionPass::kBackwardData;
  EXPECT_EQ(tuned.choose(other, "D", {1, 7}, never), 1);
  EXPECT_THAT(tuned.shortfall(),
              HasSubstr("2 of 3 convolutions have no choice that can be taken here, as data"));
}

TEST(TunedConvolutions, DoNotGoByATableOfAnotherDevice) {
  ConvolutionChoices choices("D");
  choices.set(kKey, 7);
  TunedConvolutions tuned(choices);
  EXPECT_EQ(tuned.choose(kKey, "E", {1, 7}, nullptr), 1);
  EXPECT_THAT(tuned.shortfall(), HasSubstr("measured on D, this is E"));
}

// The emulated cuDNN's algorithms, by its stand-in's numbers: 0 random (1 ms), 1 exact (4 ms), and the
// rounded one (3 ms): 7 forward, 5 backward.
class OnTheEmulatedDevice : public ::testing::Test {
 protected:
  static std::unique_ptr<Backend> backend(ConvolutionChooser* chooser) {
    auto made = cuda::make_backend_from(std::string(SENG_BIN_DIR) + "/emulated/libseng_cuda.so",
                                        Arithmetic::kF32, chooser);
    EXPECT_TRUE(made) << (made ? "" : made.error().message);
    return made ? std::move(*made) : nullptr;
  }
  static ConvolutionPlan plan(int kernel = 3) {
    ConvolutionPlan out;
    out.geometry = {2, 8, 8, 4, 8, 8, kernel, kernel, 1, kernel / 2};
    out.batch = 2;
    return out;
  }
  static std::vector<float> forward(ConvolutionChooser* chooser) {
    const auto device = backend(chooser);
    const auto convolution = device->plan_convolution(plan());
    const auto memory = [&](std::size_t bytes) { return static_cast<float*>(device->allocate(bytes)); };
    float *x = memory(convolution->input()->bytes()), *y = memory(convolution->output()->bytes());
    float* packed = memory(convolution->packed_bytes());
    std::vector<float> values(256), weights(72);
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = 1.0f / static_cast<float>(i + 3);
    for (std::size_t i = 0; i < weights.size(); ++i) weights[i] = 1.0f / static_cast<float>(2 * i + 7);
    device->upload(values.data(), x, values.size() * sizeof(float));
    convolution->pack(weights.data(), packed);
    convolution->forward(x, packed, nullptr, y);
    const float* out = device->host_view(y, 512, 0);
    return {out, out + 512};
  }
};

TEST_F(OnTheEmulatedDevice, TheFastestDeterministicAlgorithmIsChosen) {
  ConvolutionTuner tuner("Emulated GPU");
  const auto device = backend(&tuner);
  for (int layers = 0; layers < 3; ++layers) {
    const auto convolution = device->plan_convolution(plan());
    EXPECT_TRUE(convolution->winograd()) << "it is planned with what was chosen";
  }
  EXPECT_EQ(tuner.choices().to_text(),
            "Emulated GPU; data f32 nhwc 2x2x8x8 4x3x3 s1 p1 = 5; forward f32 nhwc 2x2x8x8 4x3x3 s1 p1 = 7; "
            "weights f32 nhwc 2x2x8x8 4x3x3 s1 p1 = 5");
  EXPECT_EQ(tuner.candidates(), 6u) << "the random ones are none";
  EXPECT_DOUBLE_EQ(tuner.expected_ms(), 3 * 3 * 4);
  EXPECT_DOUBLE_EQ(tuner.chosen_ms(), 3 * 3 * 3);
}

TEST_F(OnTheEmulatedDevice, WhatAJobForbidsIsNoCandidate) {
  ConvolutionTuner tuner("Emulated GPU");
  ConvolutionPlan direct = plan();
  direct.direct = true;
  EXPECT_FALSE(backend(&tuner)->plan_convolution(direct)->winograd());
  EXPECT_EQ(tuner.candidates(), 3u);
}

// Kernels of 5x5 have no algorithm in channels last there.
TEST_F(OnTheEmulatedDevice, OnlyTheLayoutThatIsTakenIsMeasured) {
  ConvolutionTuner tuner("Emulated GPU");
  backend(&tuner)->plan_convolution(plan(5));
  EXPECT_EQ(tuner.choices().size(), 3u);
  EXPECT_THAT(tuner.choices().to_text(), HasSubstr("forward f32 nchw 2x2x8x8 4x5x5"));
}

TEST_F(OnTheEmulatedDevice, WhatIsMeasuredDependsOnTheGpuAndWhatIsComputedOnTheTable) {
  setenv("CUDA_VISIBLE_DEVICES", "GPU-b", 1);
  setenv("SENG_EMULATED_CUDNN_SLOW", "GPU-b", 1);
  ConvolutionTuner slow("Emulated GPU");
  EXPECT_FALSE(backend(&slow)->plan_convolution(plan())->winograd());
  unsetenv("SENG_EMULATED_CUDNN_SLOW");
  unsetenv("CUDA_VISIBLE_DEVICES");
  ConvolutionTuner tuner("Emulated GPU");
  backend(&tuner)->plan_convolution(plan());
  TunedConvolutions by_slow(slow.choices()), by_fast(tuner.choices()), by_other(ConvolutionChoices("Other"));
  EXPECT_EQ(forward(nullptr), forward(&by_slow)) << "the library's own expectation";
  EXPECT_NE(forward(nullptr), forward(&by_fast)) << "else no test would tell choices apart";
  EXPECT_EQ(forward(&by_fast), forward(&by_fast));
  EXPECT_EQ(forward(nullptr), forward(&by_other));
  EXPECT_EQ(by_fast.shortfall() + by_slow.shortfall(), "");
  EXPECT_THAT(by_other.shortfall(), HasSubstr("measured on Other, this is Emulated GPU"));
}

}  // namespace
}  // namespace seng
