#include "actors/nn/zoo.h"

#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "actors/nn/layers.h"
#include "tests/actors/nn/recorder.h"
#include "tests/actors/nn/reference_network.h"

namespace seng::reference {
namespace {

using testing::HasSubstr;

Network create(const std::string& name, const ZooOptions& options, ImageShape input, int classes = 10) {
  auto network = Network::create(name, options, input, classes);
  EXPECT_TRUE(network.has_value()) << network.error().message;
  return *network;
}

std::string error_of(const std::string& name, const ZooOptions& options, ImageShape input = {1, 28, 28}) {
  const auto network = Network::create(name, options, input, 10);
  return network ? "no error" : network.error().message;
}

std::vector<std::string> tensor_names(const Network& network) {
  std::vector<std::string> names;
  for (const Block& block : network.blocks()) {
    for (const BlockTensor& tensor : block.parameters) names.push_back(tensor.name);
  }
  return names;
}

TEST(Zoo, LenetHasPyTorchsNamesAndCounts) {
  const Network network = create("lenet", {}, {1, 28, 28});
  EXPECT_EQ(network.parameter_count(), 421738u);
  EXPECT_EQ(network.statistics_count(), 2u * (32 + 64));
  EXPECT_THAT(tensor_names(network),
              testing::ElementsAre("conv1.weight", "bn1.weight", "bn1.bias", "conv2.weight", "bn2.weight",
                                   "bn2.bias", "fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"));
  EXPECT_THAT(network.blocks()[4].parameters[0].shape, testing::ElementsAre(128, 3136));
}

TEST(Zoo, Resnet18HasTorchvisionsNamesAndCounts) {
  const Network network = create("resnet18", {}, {3, 32, 32});
  EXPECT_EQ(network.parameter_count(), 11173962u);
  EXPECT_EQ(network.statistics_count(), 9600u);
  std::vector<std::string> expected = {"conv1.weight", "bn1.weight", "bn1.bias"};
  for (const std::string stage : {"1", "2", "3", "4"}) {
    for (const std::string unit : {"0", "1"}) {
      const std::string name = "layer" + stage + "." + unit + ".";
      for (const std::string part : {"1", "2"}) {
        expected.push_back(name + "conv" + part + ".weight");
        expected.push_back(name + "bn" + part + ".weight");
        expected.push_back(name + "bn" + part + ".bias");
      }
      if (stage == "1" || unit == "1") continue;
      expected.push_back(name + "downsample.0.weight");
      expected.push_back(name + "downsample.1.weight");
      expected.push_back(name + "downsample.1.bias");
    }
  }
  expected.push_back("fc.weight");
  expected.push_back("fc.bias");
  EXPECT_EQ(tensor_names(network), expected);
}

TEST(Zoo, BlocksTileTheFlatArrays) {
  for (const auto& [name, shape] : {std::pair<std::string, ImageShape>{"lenet", {1, 28, 28}},
                                    {"resnet18", {3, 32, 32}},
                                    {"mlp", {1, 28, 28}}}) {
    const Network network = create(name, {}, shape);
    std::size_t parameters = 0, statistics = 0;
    for (const Block& block : network.blocks()) {
      EXPECT_EQ(block.offset, parameters);
      EXPECT_EQ(block.statistics_offset, block.statistics_count > 0 ? statistics : block.statistics_offset);
      for (const BlockTensor& tensor : block.parameters) {
        EXPECT_EQ(tensor.offset, parameters) << tensor.name;
        parameters += tensor.count;
      }
      for (const BlockTensor& tensor : block.statistics) {
        EXPECT_EQ(tensor.offset, statistics) << tensor.name;
        statistics += tensor.count;
      }
    }
    EXPECT_EQ(parameters, network.parameter_count());
    EXPECT_EQ(statistics, network.statistics_count());
  }
}

TEST(Zoo, MlpTakesHiddenWidths) {
  const Network network = create("mlp", {{"hidden", "20, 7"}}, {1, 4, 5});
  EXPECT_EQ(network.parameter_count(), 20u * 20 + 20 + 7 * 20 + 7 + 10 * 7 + 10);
  EXPECT_EQ(network.blocks().back().name, "fc3");
}

TEST(Zoo, ErrorsSayWhatWasMeant) {
  EXPECT_THAT(error_of("lennet", {}),
              testing::AllOf(HasSubstr("lennet"), HasSubstr("did you mean \"lenet\"")));
  EXPECT_THAT(error_of("resnet18", {{"widht", "8"}}), HasSubstr("did you mean \"width\""));
  EXPECT_THAT(error_of("lenet", {{"width", "8"}}), HasSubstr("no options"));
  for (const std::string bad : {"0", "-1", "8x", "", "99999999999", "1.5"}) {
    EXPECT_THAT(error_of("resnet18", {{"width", bad}}), HasSubstr("width")) << bad;
  }
  for (const std::string bad : {"", "10,", ",3", "a", "10;4"}) {
    EXPECT_THAT(error_of("mlp", {{"hidden", bad}}), HasSubstr("hidden")) << bad;
  }
  EXPECT_THAT(error_of("lenet", {}, {1, 1, 1}), HasSubstr("pool"));
  EXPECT_THAT(error_of("mlp", {}, {0, 1, 1}), HasSubstr("image size"));
}

TEST(Graph, RefusesWhatDoesNotFit) {
  const auto refusal = [](auto&& build) {
    Graph graph({3, 8, 8}, 4);
    build(graph);
    const auto network = Network::from_graph(std::move(graph));
    return network ? std::string("no error") : network.error().message;
  };
  EXPECT_THAT(refusal([](Graph& g) { g.add("c", conv2d({.channels = 4, .groups = 2})); }),
              testing::AllOf(HasSubstr("grouped"), HasSubstr("layer c")));
  EXPECT_THAT(refusal([](Graph& g) { g.add("fc", linear(4)); }), HasSubstr("flatten"));
  EXPECT_THAT(refusal([](Graph& g) { g.add("c", conv2d({.channels = 4, .kernel_h = 9, .kernel_w = 9})); }),
              HasSubstr("does not fit"));
  EXPECT_THAT(refusal([](Graph& g) { g.add("d", dropout(1.0)); }), HasSubstr("[0, 1)"));
  EXPECT_THAT(refusal([](Graph& g) {
                g.add("f", flatten());
                g.add("fc", linear(5));
              }),
              HasSubstr("4 classes"));
  EXPECT_THAT(refusal([](Graph& g) {
                g.add("a", conv2d({.channels = 2}));
                g.add("b", flatten(), {kImage});
                g.add("fc", linear(4));
              }),
              HasSubstr("nothing uses the output of layer a"));
  EXPECT_THAT(refusal([](Graph& g) {
                const int a = g.add("a", conv2d({.channels = 3, .padding = 1}));
                const int b = g.add("b", conv2d({.channels = 3}));
                g.add("sum", add(), {a, b});
              }),
              HasSubstr("one shape"));
  EXPECT_THAT(refusal([](Graph& g) {
                g.add("a", flatten());
                g.add("a", linear(4));
              }),
              HasSubstr("two layers are named \"a\""));
  EXPECT_THAT(refusal([](Graph& g) { g.add("gone", relu(), {3}); }), HasSubstr("comes after it"));
}

TEST(Initialise, DependsOnSeedAndBlockAloneAndHasPyTorchsSpread) {
  const Network network = create("resnet18", {{"width", "16"}}, {3, 32, 32});
  const auto draw = [&](std::uint64_t seed) {
    std::vector<float> p(network.parameter_count()), s(network.statistics_count());
    network.initialise(seed, p, s);
    return std::pair(p, s);
  };
  const auto [p, s] = draw(3);
  EXPECT_EQ(draw(3), std::pair(p, s));
  EXPECT_NE(draw(4).first, p);
  for (const Block& block : network.blocks()) {
    if (block.kind == BlockKind::kBatchNorm) {
      EXPECT_EQ(p[block.offset], 1);
      EXPECT_EQ(p[block.offset + block.m], 0);
      EXPECT_EQ(s[block.statistics_offset], 0);
      EXPECT_EQ(s[block.statistics_offset + block.m], 1);
      continue;
    }
    double squares = 0, largest = 0;
    for (std::size_t i = 0; i < block.count; ++i) {
      squares += double(p[block.offset + i]) * p[block.offset + i] / block.count;
      largest = std::max<double>(largest, std::abs(p[block.offset + i]));
    }
    const double fan_out = double(block.m) * block.conv.kernel_h * block.conv.kernel_w;
    const double expected = block.kind == BlockKind::kLinear ? 1.0 / (3 * block.n) : 2.0 / fan_out;
    EXPECT_NEAR(squares / expected, 1, 5 / std::sqrt(double(block.count))) << block.name;
    if (block.kind == BlockKind::kLinear) {
      EXPECT_LE(largest, 1 / std::sqrt(double(block.n)));
    }
  }
}

std::unique_ptr<ReferenceNetwork> reference_lenet() {
  auto n = std::make_unique<ReferenceNetwork>(ImageShape{1, 28, 28}, 10);
  n->conv("conv1", {32, 3, 3, 1, 1, false});
  n->batch_norm("bn1");
  n->relu();
  n->max_pool(2, 2, 0);
  n->conv("conv2", {64, 3, 3, 1, 1, false});
  n->batch_norm("bn2");
  n->relu();
  n->max_pool(2, 2, 0);
  n->flatten();
  n->linear("fc1", 128);
  n->relu();
  n->linear("fc2", 10);
  return n;
}

std::unique_ptr<ReferenceNetwork> reference_resnet18(int width, ImageShape input) {
  auto n = std::make_unique<ReferenceNetwork>(input, 10);
  n->conv("conv1", {width, 3, 3, 1, 1, false});
  n->batch_norm("bn1");
  int last = n->relu();
  for (int stage = 0; stage < 4; ++stage) {
    for (int unit = 0; unit < 2; ++unit) {
      const std::string name = "layer" + std::to_string(stage + 1) + "." + std::to_string(unit) + ".";
      const int channels = width << stage, stride = stage > 0 && unit == 0 ? 2 : 1;
      n->conv(name + "conv1", {channels, 3, 3, stride, 1, false}, last);
      n->batch_norm(name + "bn1");
      n->relu();
      n->conv(name + "conv2", {channels, 3, 3, 1, 1, false});
      const int residual = n->batch_norm(name + "bn2");
      int shortcut = last;
      if (stride == 2) {
        n->conv(name + "downsample.0", {channels, 1, 1, 2, 0, false}, last);
        shortcut = n->batch_norm(name + "downsample.1");
      }
      n->add(residual, shortcut);
      last = n->relu();
    }
  }
  n->global_average_pool();
  n->flatten();
  n->linear("fc", 10);
  return n;
}

// The zoo's network against a reference that is put together here, independently.
void expect_whole_network(const Network& network, const ReferenceNetwork& reference, int samples, bool direct,
                          double tolerance) {
  const Weights weights = random_weights(network, 8);
  ASSERT_EQ(reference.network().parameter_count(), network.parameter_count());
  const Batch batch = random_batch(9, samples, network.input(), 10);
  const Outcome expected = reference.train(weights.parameters64(), batch, 0.05);
  ReplicaOptions options;
  options.micro_batch = samples;
  options.direct_convolution = direct;
  options.label_smoothing = 0.05;
  const Recorder actual = train_once(network, options, weights, batch);
  if (!direct) {
    options.direct_convolution = true;
    EXPECT_NE(train_once(network, options, weights, batch).gradient, actual.gradient)
        << "Winograd takes part";
  }
  EXPECT_NEAR(actual.loss.loss / expected.loss, 1, tolerance);
  double worst = 0;
  for (const Block& block : network.blocks()) {
    const double error = relative_error(run_of(block, actual.gradient), run_of(block, expected.gradient));
    worst = std::max(worst, error);
    EXPECT_LT(error, tolerance) << block.name;
  }
  EXPECT_LT(relative_error(widened(actual.statistics), expected.statistics), tolerance);
  testing::Test::RecordProperty("worst_relative_error", std::to_string(worst));
  std::printf("largest relative error of a block's gradient: %.1e\n", worst);

  const Outcome evaluated = reference.evaluate(weights.parameters64(), weights.statistics64(), batch);
  Replica replica(network, options);
  replica.load(weights.parameters, weights.statistics);
  const LossSum loss = replica.evaluate(batch.micro());
  EXPECT_NEAR(loss.loss / evaluated.loss, 1, tolerance);
  EXPECT_EQ(loss.hits, evaluated.hits);
}

TEST(WholeNetwork, LenetDirect) {
  expect_whole_network(create("lenet", {}, {1, 28, 28}), *reference_lenet(), 4, true, 5e-5);
}
TEST(WholeNetwork, LenetAuto) {
  expect_whole_network(create("lenet", {}, {1, 28, 28}), *reference_lenet(), 16, false, 1e-3);
}
TEST(WholeNetwork, Resnet18Direct) {
  const ImageShape input{3, 12, 12};
  expect_whole_network(create("resnet18", {{"width", "32"}}, input), *reference_resnet18(32, input), 4, true,
                       1e-4);
}
TEST(WholeNetwork, Resnet18Auto) {
  const ImageShape input{3, 12, 12};
  expect_whole_network(create("resnet18", {{"width", "32"}}, input), *reference_resnet18(32, input), 12,
                       false, 1e-3);
}

}  // namespace
}  // namespace seng::reference
