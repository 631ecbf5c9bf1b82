// The zoo's networks, whole, against references that are put together here, independently.
#include <array>
#include <cstdio>

#include <gtest/gtest.h>

#include "actors/nn/zoo.h"
#include "tests/actors/nn/recorder.h"
#include "tests/actors/nn/reference_network.h"

namespace seng::reference::whole_network_test {
namespace {

Network create(const std::string& name, const ZooOptions& options, ImageShape input, int classes = 10) {
  auto network = Network::create(name, options, input, classes);
  EXPECT_TRUE(network.has_value()) << network.error().message;
  return *network;
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

// Returns the index of the unit's output.
int reference_unit(ReferenceNetwork& n, const std::string& name, int last, int channels, int stride,
                   bool bottleneck, bool project) {
  const int out = bottleneck ? 4 * channels : channels;
  int residual = 0;
  if (bottleneck) {
    n.conv(name + "conv1", {channels, 1, 1, 1, 0, false}, last);
    n.batch_norm(name + "bn1");
    n.relu();
    n.conv(name + "conv2", {channels, 3, 3, stride, 1, false});
    n.batch_norm(name + "bn2");
    n.relu();
    n.conv(name + "conv3", {out, 1, 1, 1, 0, false});
    residual = n.batch_norm(name + "bn3");
  } else {
    n.conv(name + "conv1", {channels, 3, 3, stride, 1, false}, last);
    n.batch_norm(name + "bn1");
    n.relu();
    n.conv(name + "conv2", {channels, 3, 3, 1, 1, false});
    residual = n.batch_norm(name + "bn2");
  }
  int shortcut = last;
  if (project) {
    n.conv(name + "downsample.0", {out, 1, 1, stride, 0, false}, last);
    shortcut = n.batch_norm(name + "downsample.1");
  }
  n.add(residual, shortcut);
  return n.relu();
}

std::unique_ptr<ReferenceNetwork> reference_resnet(std::array<int, 4> units, bool bottleneck, bool imagenet,
                                                   int width, ImageShape input) {
  auto n = std::make_unique<ReferenceNetwork>(input, 10);
  n->conv("conv1", imagenet ? Conv2dShape{width, 7, 7, 2, 3, false} : Conv2dShape{width, 3, 3, 1, 1, false});
  n->batch_norm("bn1");
  int last = n->relu();
  if (imagenet) last = n->max_pool(3, 2, 1);
  for (int stage = 0; stage < 4; ++stage) {
    for (int unit = 0; unit < units[stage]; ++unit) {
      const std::string name = "layer" + std::to_string(stage + 1) + "." + std::to_string(unit) + ".";
      const int stride = stage > 0 && unit == 0 ? 2 : 1;
      const bool project = unit == 0 && (stage > 0 || bottleneck);
      last = reference_unit(*n, name, last, width << stage, stride, bottleneck, project);
    }
  }
  n->global_average_pool();
  n->flatten();
  n->linear("fc", 10);
  return n;
}

std::unique_ptr<ReferenceNetwork> reference_resnet18(int width, ImageShape input) {
  return reference_resnet({2, 2, 2, 2}, false, false, width, input);
}

std::unique_ptr<ReferenceNetwork> reference_vgg11(int width, ImageShape input) {
  auto n = std::make_unique<ReferenceNetwork>(input, 10);
  int number = 0;
  for (const std::vector<int>& stage : {std::vector{1}, {2}, {4, 4}, {8, 8}, {8, 8}}) {
    for (const int multiple : stage) {
      n->conv("features." + std::to_string(number), {multiple * width, 3, 3, 1, 1, true});
      n->batch_norm("features." + std::to_string(number + 1));
      n->relu();
      number += 3;
    }
    n->max_pool(2, 2, 0);
    ++number;
  }
  n->global_average_pool();
  n->flatten();
  n->linear("classifier", 10);
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
  ::testing::Test::RecordProperty("worst_relative_error", std::to_string(worst));
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

TEST(WholeNetwork, Resnet34OfTheImagenetForm) {
  const ImageShape input{3, 40, 40};
  expect_whole_network(create("resnet34", {{"width", "4"}, {"stem", "imagenet"}}, input),
                       *reference_resnet({3, 4, 6, 3}, false, true, 4, input), 6, true, 1e-3);
}
TEST(WholeNetwork, Resnet50) {
  const ImageShape input{3, 16, 16};
  expect_whole_network(create("resnet50", {{"width", "4"}}, input),
                       *reference_resnet({3, 4, 6, 3}, true, false, 4, input), 6, true, 1e-3);
}
TEST(WholeNetwork, Vgg11) {
  const ImageShape input{3, 32, 32};
  expect_whole_network(create("vgg11_bn", {{"width", "4"}}, input), *reference_vgg11(4, input), 8, true,
                       1e-3);
}

}  // namespace
}  // namespace seng::reference::whole_network_test
