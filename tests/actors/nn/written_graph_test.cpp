// Networks written in a job against the same ones built by hand.
#include "actors/nn/written_graph.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "protocol/spec/spec_layers.h"
#include "tests/actors/nn/recorder.h"
#include "tests/actors/nn/reference_network.h"

namespace seng::reference {
namespace {

std::vector<LayerSpec> parse(const std::string& layers) {
  const auto spec = parse_job_spec(
      "model: {layers: [" + layers + "]}\ndata: x\nbatch: {global: 4, micro: 4}\nsteps: 1\noptimizer: sgd\n",
      "test");
  EXPECT_TRUE(spec) << spec.error().message;
  return spec ? spec->model_layers : std::vector<LayerSpec>{};
}

TEST(WrittenGraph, EqualsTheReference) {
  const ImageShape image{3, 9, 9};
  const auto network = Network::create(
      parse("{name: stem.conv, type: conv2d, channels: 6, padding: 1, bias: false},"
            "{name: stem.bn, type: batch_norm}, {name: a, type: relu},"
            "{name: b, type: conv2d, channels: 6, kernel: 1},"
            "{name: c, type: conv2d, channels: 6, kernel: 5, padding: 2, inputs: [a]},"
            "{name: sum, type: add, inputs: [b, c]}, {name: r, type: relu},"
            "{name: p, type: max_pool, kernel: 3, padding: 1},"
            "{name: q, type: average_pool, stride: 1}, {name: f, type: flatten},"
            "{name: d, type: dropout, probability: 0.25}, {name: fc, type: linear, features: 4}"),
      image, 4);
  ASSERT_TRUE(network) << network.error().message;
  ReferenceNetwork n(image, 4);
  n.conv("stem.conv", {6, 3, 3, 1, 1, false});
  n.batch_norm("stem.bn");
  const int a = n.relu();
  const int b = n.conv("b", {6, 1, 1, 1, 0, true});
  const int c = n.conv("c", {6, 5, 5, 1, 2, true}, a);
  n.add(b, c);
  n.relu();
  n.max_pool(3, 3, 1);
  n.average_pool(2, 1, 0);
  n.flatten();
  n.dropout(0.25);
  n.linear("fc", 4);
  const Weights weights = random_weights(*network, 3);
  const Batch batch = random_batch(5, 4, image, 4);
  ReplicaOptions options;
  options.micro_batch = 4;
  options.direct_convolution = true;
  const Recorder actual = train_once(*network, options, weights, batch);
  const Outcome expected = n.train(weights.parameters64(), batch, 0);
  EXPECT_LT(relative_error(widened(actual.gradient), expected.gradient), 2e-5);
  EXPECT_EQ(network->blocks()[0].parameters[0].name, "stem.conv.weight");
}

// The specification's table of types and this one agree.
TEST(WrittenGraph, KnowsEveryTypeOfTheSpecification) {
  for (const LayerType& type : layer_types()) {
    LayerSpec layer{"probe", std::string(type.name), {}, {}};
    for (const LayerOption& option : type.options) {
      if (option.required) layer.options.emplace(option.name, "1");
    }
    EXPECT_TRUE(build_from_layers({layer}, {3, 8, 8}, 2)) << type.name;
  }
}

TEST(WrittenGraph, ErrorsOfShapeNameTheLayer) {
  const auto error = [](const std::string& layers) {
    const auto network = Network::create(parse(layers), {3, 8, 8}, 4);
    return network ? std::string("no error") : network.error().message;
  };
  EXPECT_THAT(error("{name: big, type: conv2d, channels: 4, kernel: 9}"), ::testing::HasSubstr("layer big"));
  EXPECT_THAT(error("{name: a, type: conv2d, channels: 4}, {name: b, type: conv2d, channels: 5, padding: 1},"
                    "{name: sum, type: add, inputs: [a, b]}"),
              ::testing::HasSubstr("layer sum: add takes two inputs of one shape, not 4x6x6 and 5x6x6"));
  EXPECT_THAT(error("{name: fc, type: linear, features: 4}"), ::testing::HasSubstr("flatten"));
  EXPECT_THAT(error("{name: f, type: flatten}, {name: fc, type: linear, features: 5}"),
              ::testing::HasSubstr("one value for each of the 4 classes, not 5x1x1"));
}

}  // namespace
}  // namespace seng::reference
