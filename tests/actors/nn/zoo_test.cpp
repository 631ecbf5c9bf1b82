#include "actors/nn/zoo.h"

#include <array>
#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "actors/nn/layers.h"

namespace seng::zoo_test {
namespace {

using ::testing::HasSubstr;

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
              ::testing::ElementsAre("conv1.weight", "bn1.weight", "bn1.bias", "conv2.weight", "bn2.weight",
                                     "bn2.bias", "fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"));
  EXPECT_THAT(network.blocks()[4].parameters[0].shape, ::testing::ElementsAre(128, 3136));
}

TEST(Zoo, CountsAreTorchvisions) {
  const ImageShape large{3, 224, 224}, small{3, 32, 32};
  const struct {
    const char* name;
    std::size_t parameters, statistics;
  } imagenet[] = {{"resnet18", 11'689'512, 9'600},
                  {"resnet34", 21'797'672, 17'024},
                  {"resnet50", 25'557'032, 53'120},
                  {"vgg11_bn", 132'868'840, 5'504},
                  {"vgg16_bn", 138'365'992, 8'448}};
  for (const auto& expected : imagenet) {
    const Network network = create(expected.name, {}, large, 1000);
    EXPECT_EQ(network.parameter_count(), expected.parameters) << expected.name;
    EXPECT_EQ(network.statistics_count(), expected.statistics) << expected.name;
  }
  EXPECT_EQ(create("resnet18", {}, small).parameter_count(), 11'173'962u);
  // Features of 9,225,984 and 14,723,136, then one linear layer.
  EXPECT_EQ(create("vgg11_bn", {}, small).parameter_count(), 9'225'984u + 513 * 10);
  EXPECT_EQ(create("vgg16_bn", {}, small).parameter_count(), 14'723'136u + 513 * 10);
}

// "layer1.0.conv1.weight [64, 64, 3, 3]" and so on, in the order of torchvision's state_dict but for batch
// norm's statistics.
std::vector<std::string> names_and_shapes(const Network& network) {
  std::vector<std::string> all;
  for (const Block& block : network.blocks()) {
    for (const BlockTensor& tensor : block.parameters) {
      std::string text = tensor.name + " [";
      for (const std::int64_t size : tensor.shape)
        text += (text.back() == '[' ? "" : ", ") + std::to_string(size);
      all.push_back(text + "]");
    }
  }
  return all;
}

class Expected {
 public:
  void conv(const std::string& name, int out, int in, int kernel) {
    const std::string k = std::to_string(kernel);
    add(name + ".weight", std::to_string(out) + ", " + std::to_string(in) + ", " + k + ", " + k);
  }
  void vector(const std::string& name, int size) { add(name, std::to_string(size)); }
  void norm(const std::string& name, int channels) {
    vector(name + ".weight", channels);
    vector(name + ".bias", channels);
  }
  void linear(const std::string& name, int out, int in) {
    add(name + ".weight", std::to_string(out) + ", " + std::to_string(in));
    vector(name + ".bias", out);
  }
  std::vector<std::string> all;

 private:
  void add(const std::string& name, const std::string& shape) { all.push_back(name + " [" + shape + "]"); }
};

Expected expected_resnet(std::array<int, 4> units, bool bottleneck, int stem_kernel) {
  Expected e;
  e.conv("conv1", 64, 3, stem_kernel);
  e.norm("bn1", 64);
  int in = 64;
  for (int stage = 0; stage < 4; ++stage) {
    for (int unit = 0; unit < units[stage]; ++unit) {
      const std::string name = "layer" + std::to_string(stage + 1) + "." + std::to_string(unit) + ".";
      const int middle = 64 << stage, out = bottleneck ? 4 * middle : middle;
      e.conv(name + "conv1", middle, in, bottleneck ? 1 : 3);
      e.norm(name + "bn1", middle);
      e.conv(name + "conv2", middle, middle, 3);
      e.norm(name + "bn2", middle);
      if (bottleneck) {
        e.conv(name + "conv3", out, middle, 1);
        e.norm(name + "bn3", out);
      }
      if (in != out) {
        e.conv(name + "downsample.0", out, in, 1);
        e.norm(name + "downsample.1", out);
      }
      in = out;
    }
  }
  e.linear("fc", 10, in);
  return e;
}

TEST(Zoo, ResnetsHaveTorchvisionsNamesAndShapes) {
  const ImageShape large{3, 224, 224}, small{3, 32, 32};
  EXPECT_EQ(names_and_shapes(create("resnet18", {}, small)), expected_resnet({2, 2, 2, 2}, false, 3).all);
  EXPECT_EQ(names_and_shapes(create("resnet34", {}, large)), expected_resnet({3, 4, 6, 3}, false, 7).all);
  EXPECT_EQ(names_and_shapes(create("resnet50", {}, large)), expected_resnet({3, 4, 6, 3}, true, 7).all);
}

// Where torchvision's features stand: a pooling takes one number, a convolution three.
Expected expected_vgg(const std::vector<std::vector<int>>& stages, bool imagenet) {
  Expected e;
  int number = 0, in = 3;
  for (const auto& stage : stages) {
    for (const int out : stage) {
      const std::string name = "features." + std::to_string(number);
      e.conv(name, out, in, 3);
      e.vector(name + ".bias", out);
      e.norm("features." + std::to_string(number + 1), out);
      number += 3;
      in = out;
    }
    ++number;
  }
  if (imagenet) {
    e.linear("classifier.0", 4096, 25088);
    e.linear("classifier.3", 4096, 4096);
    e.linear("classifier.6", 10, 4096);
  } else {
    e.linear("classifier", 10, 512);
  }
  return e;
}

TEST(Zoo, VggsHaveTorchvisionsNamesAndShapes) {
  const ImageShape large{3, 224, 224}, small{3, 32, 32};
  const std::vector<std::vector<int>> eleven = {{64}, {128}, {256, 256}, {512, 512}, {512, 512}};
  const std::vector<std::vector<int>> sixteen = {
      {64, 64}, {128, 128}, {256, 256, 256}, {512, 512, 512}, {512, 512, 512}};
  EXPECT_EQ(names_and_shapes(create("vgg11_bn", {}, large)), expected_vgg(eleven, true).all);
  EXPECT_EQ(names_and_shapes(create("vgg16_bn", {}, large)), expected_vgg(sixteen, true).all);
  EXPECT_EQ(names_and_shapes(create("vgg16_bn", {}, small)), expected_vgg(sixteen, false).all);
}

TEST(Zoo, FormsFollowTheImageOrTheOption) {
  const auto stem = [](const ZooOptions& options, int side) {
    return create("resnet18", options, {3, side, side}).blocks()[0].conv;
  };
  EXPECT_EQ(stem({}, 64).stride, 1);
  EXPECT_EQ(stem({}, 96).kernel_h, 7);
  EXPECT_EQ(stem({{"stem", "imagenet"}}, 32).stride, 2);
  EXPECT_EQ(stem({{"stem", "cifar"}}, 224).height_out, 224);
  // 7x7 and pooling: the first stage sees a quarter.
  EXPECT_EQ(create("resnet18", {}, {3, 224, 224}).blocks()[2].conv.height_in, 56);
  const auto last = [](const ZooOptions& options, int height, int width) {
    return create("vgg11_bn", options, {3, height, width}).blocks().back().name;
  };
  EXPECT_EQ(last({}, 32, 32), "classifier");
  EXPECT_EQ(last({}, 224, 224), "classifier.6");
  EXPECT_EQ(last({}, 448, 448), "classifier.6");
  EXPECT_EQ(last({}, 256, 256), "classifier");
  EXPECT_EQ(last({}, 224, 448), "classifier");
  EXPECT_THAT(error_of("vgg11_bn", {{"head", "imagenet"}}, {3, 256, 256}), HasSubstr("8x8 to 7x7"));
  EXPECT_THAT(error_of("vgg11_bn", {}, {3, 16, 16}), HasSubstr("pool"));
}

TEST(Zoo, ZeroInitResidualMakesBlocksBeginAsTheirShortcut) {
  for (const bool zero : {false, true}) {
    const Network network =
        create("resnet50", {{"width", "4"}, {"zero_init_residual", zero ? "true" : "false"}}, {3, 8, 8});
    std::vector<float> p(network.parameter_count()), s(network.statistics_count());
    network.initialise(1, p, s);
    for (const Block& block : network.blocks()) {
      if (block.kind != BlockKind::kBatchNorm) continue;
      EXPECT_EQ(p[block.offset], zero && block.name.ends_with("bn3") ? 0 : 1) << block.name;
    }
  }
}

TEST(Zoo, VggsBeginAsTorchvisions) {
  const Network network = create("vgg11_bn", {{"width", "8"}}, {3, 224, 224});
  std::vector<float> p(network.parameter_count()), s(network.statistics_count());
  network.initialise(1, p, s);
  for (const Block& block : network.blocks()) {
    if (block.kind == BlockKind::kBatchNorm) continue;
    const std::size_t weights = block.parameters[0].count;
    double squares = 0;
    for (std::size_t i = 0; i < weights; ++i)
      squares += double(p[block.offset + i]) * p[block.offset + i] / weights;
    const double expected = block.kind == BlockKind::kLinear ? 1e-4 : 2.0 / (9.0 * block.m);
    EXPECT_NEAR(squares / expected, 1, 6 * std::sqrt(2.0 / double(weights))) << block.name;
    for (std::size_t i = weights; i < block.count; ++i) EXPECT_EQ(p[block.offset + i], 0) << block.name;
  }
}

TEST(Zoo, BlocksTileTheFlatArrays) {
  for (const auto& [name, shape] : {std::pair<std::string, ImageShape>{"lenet", {1, 28, 28}},
                                    {"resnet18", {3, 32, 32}},
                                    {"resnet50", {3, 32, 32}},
                                    {"vgg11_bn", {3, 32, 32}},
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
              ::testing::AllOf(HasSubstr("lennet"), HasSubstr("did you mean \"lenet\"")));
  EXPECT_THAT(error_of("resnet18", {{"widht", "8"}}), HasSubstr("did you mean \"width\""));
  EXPECT_THAT(error_of("lenet", {{"width", "8"}}), HasSubstr("no options"));
  EXPECT_THAT(error_of("resnet50", {{"stem", "cifer"}}), HasSubstr("did you mean \"cifar\""));
  EXPECT_THAT(error_of("vgg16_bn", {{"head", "7"}}), HasSubstr("neither cifar nor imagenet"));
  EXPECT_THAT(error_of("resnet34", {{"zero_init_residual", "1"}}), HasSubstr("neither true nor false"));
  EXPECT_THAT(error_of("resnet-50", {}), HasSubstr("did you mean \"resnet50\""));
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
              ::testing::AllOf(HasSubstr("grouped"), HasSubstr("layer c")));
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

}  // namespace
}  // namespace seng::zoo_test
