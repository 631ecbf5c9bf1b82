// Every layer's gradient, of its inputs (through a convolution before it) and of its parameters, against the
// reference in double precision.
#include "actors/nn/layers.h"

#include <gtest/gtest.h>

#include "tests/actors/nn/recorder.h"
#include "tests/actors/nn/reference_network.h"

namespace seng::reference {
namespace {

constexpr int kClasses = 5;

void expect_equal(const ReferenceNetwork& reference, int samples, double tolerance, bool direct = true,
                  double smoothing = 0.1) {
  const Network network = reference.network();
  const Weights weights = random_weights(network, 21);
  const Batch batch = random_batch(7, samples, network.input(), kClasses);
  const Outcome expected = reference.train(weights.parameters64(), batch, smoothing);
  ReplicaOptions options;
  options.micro_batch = samples;
  options.direct_convolution = direct;
  options.label_smoothing = smoothing;
  const Recorder actual = train_once(network, options, weights, batch);
  EXPECT_NEAR(actual.loss.loss, expected.loss, tolerance * std::abs(expected.loss));
  EXPECT_EQ(actual.loss.hits, expected.hits);
  for (const Block& block : network.blocks()) {
    EXPECT_LT(relative_error(run_of(block, actual.gradient), run_of(block, expected.gradient)), tolerance)
        << block.name;
  }
  if (network.statistics_count() > 0) {
    EXPECT_LT(relative_error(widened(actual.statistics), expected.statistics), tolerance);
  }
}

void finish(ReferenceNetwork& network) {
  network.flatten();
  network.linear("fc", kClasses);
}

struct ConvCase {
  int channels_in, height, width;
  Conv2dShape shape;
  int samples;
  friend void PrintTo(const ConvCase& one, std::ostream* out) {
    const auto& [c, h, w, s, n] = one;
    *out << "c" << c << "to" << s.channels << "_" << h << "x" << w << "_k" << s.kernel_h << "x" << s.kernel_w
         << "_s" << s.stride << "_p" << s.padding << (s.bias ? "_bias" : "") << "_n" << n;
  }
};

class ConvGradient : public ::testing::TestWithParam<ConvCase> {};

TEST_P(ConvGradient, DirectEqualsReference) {
  const auto& [channels, height, width, shape, samples] = GetParam();
  ReferenceNetwork network({channels, height, width}, kClasses);
  network.conv("probe", {channels, 1, 1, 1, 0, true});
  network.conv("conv", shape);
  finish(network);
  expect_equal(network, samples, 2e-5);
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, ConvGradient,
    ::testing::Values(
        ConvCase{1, 7, 7, {4, 3, 3, 1, 1, true}, 3}, ConvCase{3, 8, 8, {16, 3, 3, 1, 1, false}, 2},
        ConvCase{16, 9, 7, {32, 3, 3, 1, 1, true}, 3}, ConvCase{16, 9, 9, {16, 3, 3, 2, 1, true}, 2},
        ConvCase{5, 9, 11, {7, 3, 3, 2, 0, true}, 2}, ConvCase{32, 6, 6, {16, 1, 1, 1, 0, false}, 2},
        ConvCase{32, 7, 7, {48, 1, 1, 2, 0, true}, 3}, ConvCase{16, 12, 12, {16, 5, 5, 1, 2, true}, 2},
        ConvCase{2, 11, 8, {6, 5, 3, 1, 1, true}, 2}, ConvCase{10, 6, 6, {20, 3, 3, 1, 0, true}, 4},
        ConvCase{16, 10, 10, {24, 7, 7, 3, 3, false}, 2}, ConvCase{17, 5, 5, {33, 3, 3, 1, 1, true}, 1},
        ConvCase{64, 4, 4, {16, 4, 4, 4, 0, true}, 5}, ConvCase{3, 6, 6, {5, 1, 2, 1, 0, true}, 2}),
    ::testing::PrintToStringParamName());

class WinogradGradient : public ::testing::TestWithParam<ConvCase> {};

// A single layer under Winograd F(4x4, 3x3): its transforms amplify rounding, measured here at some 1e-6 to
// 1e-5 of the norm.
TEST_P(WinogradGradient, NearReference) {
  const auto& [channels, height, width, shape, samples] = GetParam();
  ReferenceNetwork network({channels, height, width}, kClasses);
  network.conv("probe", {channels, 1, 1, 1, 0, true});
  network.conv("conv", shape);
  finish(network);
  expect_equal(network, samples, 1e-4, /*direct=*/false);
}

INSTANTIATE_TEST_SUITE_P(Shapes, WinogradGradient,
                         ::testing::Values(ConvCase{32, 16, 16, {32, 3, 3, 1, 1, false}, 8},
                                           ConvCase{32, 14, 14, {64, 3, 3, 1, 1, false}, 16},
                                           ConvCase{64, 8, 8, {64, 3, 3, 1, 1, true}, 12},
                                           ConvCase{64, 4, 4, {128, 3, 3, 1, 1, true}, 48},
                                           ConvCase{48, 15, 13, {80, 3, 3, 1, 0, true}, 12}),
                         ::testing::PrintToStringParamName());

TEST(LinearGradient, EqualsReference) {
  for (const auto& [in, out, samples] : {std::array{1, 1, 2}, {7, 3, 1}, {64, 33, 5}, {130, 17, 32}}) {
    for (const bool bias : {true, false}) {
      SCOPED_TRACE(::testing::Message() << in << " to " << out << " bias " << bias);
      ReferenceNetwork network({in, 1, 1}, kClasses);
      network.linear("probe", in);
      network.linear("layer", out, bias);
      network.relu();
      network.linear("fc", kClasses);
      expect_equal(network, samples, 2e-5);
    }
  }
}

TEST(BatchNormGradient, EqualsReferenceWithAndWithoutRelu) {
  for (const auto& [channels, size, samples] : {std::array{3, 5, 4}, {16, 6, 3}, {40, 3, 8}, {32, 1, 16}}) {
    for (const bool with_relu : {true, false}) {
      SCOPED_TRACE(::testing::Message() << channels << " channels of " << size << ", relu " << with_relu);
      ReferenceNetwork network({4, size, size}, kClasses);
      network.conv("probe", {channels, 1, 1, 1, 0, true});
      network.batch_norm("bn");
      if (with_relu) network.relu();
      finish(network);
      expect_equal(network, samples, 1e-4);
    }
  }
}

TEST(BatchNormGradient, FirstLayer) {
  ReferenceNetwork network({3, 5, 5}, kClasses);
  network.batch_norm("bn");
  finish(network);
  expect_equal(network, 4, 2e-5);
}

TEST(BatchNormGradient, ReluWithTwoUsersIsNotFused) {
  ReferenceNetwork network({3, 6, 6}, kClasses);
  network.conv("probe", {16, 1, 1, 1, 0, true});
  const int norm = network.batch_norm("bn");
  const int positive = network.relu();
  network.add(norm, positive);
  finish(network);
  expect_equal(network, 4, 2e-5);
}

struct PoolCase {
  int channels, height, width, kernel, stride, padding;
  friend void PrintTo(const PoolCase& one, std::ostream* out) {
    *out << "c" << one.channels << "_" << one.height << "x" << one.width << "_k" << one.kernel << "_s"
         << one.stride << "_p" << one.padding;
  }
};

class PoolGradient : public ::testing::TestWithParam<PoolCase> {};

TEST_P(PoolGradient, EqualsReference) {
  const PoolCase& p = GetParam();
  for (const bool maximum : {true, false}) {
    SCOPED_TRACE(maximum ? "max" : "average");
    ReferenceNetwork network({3, p.height, p.width}, kClasses);
    network.conv("probe", {p.channels, 3, 3, 1, 1, true});
    maximum ? network.max_pool(p.kernel, p.stride, p.padding)
            : network.average_pool(p.kernel, p.stride, p.padding);
    finish(network);
    expect_equal(network, 3, 2e-5);
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, PoolGradient,
                         ::testing::Values(PoolCase{16, 8, 8, 2, 2, 0}, PoolCase{5, 9, 7, 2, 2, 0},
                                           PoolCase{32, 7, 7, 3, 2, 1}, PoolCase{3, 6, 6, 3, 1, 1},
                                           PoolCase{16, 5, 5, 5, 1, 0}, PoolCase{20, 11, 6, 4, 3, 2},
                                           PoolCase{64, 4, 4, 2, 2, 0}, PoolCase{16, 9, 7, 2, 2, 0},
                                           PoolCase{20, 10, 11, 3, 3, 0}),
                         ::testing::PrintToStringParamName());

TEST(GlobalAveragePoolGradient, EqualsReference) {
  for (const int channels : {16, 6}) {
    ReferenceNetwork network({3, 7, 5}, kClasses);
    network.conv("probe", {channels, 3, 3, 1, 1, true});
    network.global_average_pool();
    finish(network);
    expect_equal(network, 3, 2e-5);
  }
}

TEST(AdaptiveAveragePool, IsAnAveragePoolOrNothing) {
  for (const int side : {7, 14, 21}) {
    ReferenceNetwork reference({3, side, side}, kClasses);
    reference.conv("probe", {6, 3, 3, 1, 1, true});
    if (side > 7) reference.average_pool(side / 7, side / 7, 0);
    finish(reference);
    Graph graph({3, side, side}, kClasses);
    graph.add("probe", conv2d({.channels = 6, .padding = 1}));
    graph.add("pool", adaptive_average_pool(7));
    graph.add("flatten", flatten());
    graph.add("fc", linear(kClasses));
    const auto network = Network::from_graph(std::move(graph));
    ASSERT_TRUE(network) << network.error().message;
    const Weights weights = random_weights(*network, 21);
    const Batch batch = random_batch(7, 3, network->input(), kClasses);
    ReplicaOptions options;
    options.micro_batch = 3;
    options.direct_convolution = true;
    const Recorder actual = train_once(*network, options, weights, batch);
    const Outcome expected = reference.train(weights.parameters64(), batch, 0);
    EXPECT_LT(relative_error(widened(actual.gradient), expected.gradient), 2e-5) << side;
  }
}

TEST(AddGradient, ResidualBlockEqualsReference) {
  for (const auto& [channels, with_relu] :
       {std::pair{16, true}, {16, false}, {8, true}, {24, true}, {5, true}, {5, false}}) {
    SCOPED_TRACE(::testing::Message() << channels << " channels, relu " << with_relu);
    ReferenceNetwork network({3, 6, 6}, kClasses);
    network.conv("stem", {channels, 3, 3, 1, 1, true});
    const int input = network.relu();
    network.conv("conv1", {channels, 3, 3, 1, 1, false});
    network.batch_norm("bn1");
    network.relu();
    network.conv("conv2", {channels, 3, 3, 1, 1, false});
    const int residual = network.batch_norm("bn2");
    network.add(residual, input);
    if (with_relu) network.relu();
    finish(network);
    expect_equal(network, 4, 5e-5);
  }
}

TEST(AddGradient, ManyUsersOfOneValue) {
  ReferenceNetwork network({3, 5, 5}, kClasses);
  const int a = network.conv("a", {16, 3, 3, 1, 1, true});
  const int twice = network.add(a, a);
  const int b = network.conv("b", {16, 3, 3, 1, 1, true}, a);
  const int c = network.conv("c", {16, 1, 1, 1, 0, true}, a);
  const int bc = network.add(b, c);
  network.add(bc, twice);
  network.relu();
  finish(network);
  expect_equal(network, 3, 2e-5);
}

TEST(AddGradient, ImageIsAnInput) {
  ReferenceNetwork network({4, 5, 5}, kClasses);
  const int a = network.conv("a", {4, 3, 3, 1, 1, true});
  network.add(a, kImage);
  finish(network);
  expect_equal(network, 3, 2e-5);
}

TEST(DropoutGradient, EqualsReference) {
  for (const int channels : {16, 5}) {
    ReferenceNetwork network({3, 5, 5}, kClasses);
    network.conv("probe", {channels, 3, 3, 1, 1, true});
    network.relu();
    network.dropout(0.3);
    network.flatten();
    network.dropout(0.5);
    network.linear("fc", kClasses);
    expect_equal(network, 4, 2e-5);
  }
}

TEST(InPlace, FlattenBeforeDropoutKeepsWhatReluStillReads) {
  ReferenceNetwork network({12, 1, 1}, kClasses);
  network.linear("probe", 12);
  network.relu();
  network.flatten();
  network.dropout(0.5);
  network.linear("fc", kClasses);
  expect_equal(network, 6, 2e-5);
}

TEST(LabelSmoothing, ChangesLossAndGradientAsDefined) {
  for (const double smoothing : {0.0, 0.1, 0.7}) {
    ReferenceNetwork network({9, 1, 1}, kClasses);
    network.linear("fc", kClasses);
    expect_equal(network, 6, 2e-5, true, smoothing);
  }
}

}  // namespace
}  // namespace seng::reference
