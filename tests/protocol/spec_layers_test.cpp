// model.layers: a network written in the job.
#include "protocol/spec/spec_layers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "protocol/spec/job_spec.h"

namespace seng {
namespace {

using ::testing::HasSubstr;

const char kRest[] = "data: mnist\nbatch: {global: 64, micro: 8}\nepochs: 1\noptimizer: sgd\n";

std::string job(const std::string& layers) {
  return "model:\n  layers:\n" + layers + kRest;
}

std::string problems(const std::string& layers) {
  const auto spec = parse_job_spec(job(layers), "f.yaml");
  return spec ? "accepted" : spec.error().message;
}

const char kNetwork[] = R"(    - {name: conv1, type: conv2d, channels: 8, kernel: 3, padding: 1, bias: false}
    - {name: stem.bn, type: batch_norm}
    - {name: relu1, type: relu}
    - {name: conv2, type: conv2d, channels: 8, padding: 1}
    - {name: sum, type: add, inputs: [conv2, relu1]}
    - {name: pool, type: max_pool}
    - {name: flat, type: flatten, inputs: pool}
    - {name: drop, type: dropout, probability: 0.25}
    - {name: fc, type: linear, features: 10}
)";

TEST(SpecLayers, ReadsANetwork) {
  const auto spec = parse_job_spec(job(kNetwork), "f.yaml");
  ASSERT_TRUE(spec) << spec.error().message;
  EXPECT_EQ(spec->name, "layers-sgd");
  EXPECT_EQ(spec->model_name, "");
  ASSERT_EQ(spec->model_layers.size(), 9u);
  EXPECT_EQ(spec->model_layers[1].name, "stem.bn");
  EXPECT_EQ(spec->model_layers[4].inputs, (std::vector<std::string>{"conv2", "relu1"}));
  EXPECT_EQ(spec->model_layers[6].inputs, std::vector<std::string>{"pool"});
  EXPECT_EQ(layer_option(spec->model_layers[0], "bias"), "false");
  EXPECT_EQ(layer_option(spec->model_layers[3], "bias"), "true");
  EXPECT_EQ(layer_option(spec->model_layers[5], "stride"), "2") << "as the kernel";
  const auto again = parse_job_spec(to_yaml(*spec), "written");
  ASSERT_TRUE(again) << again.error().message << to_yaml(*spec);
  EXPECT_EQ(*again, *spec);
}

TEST(SpecLayers, OverridesAndDifferences) {
  const auto a = parse_job_spec(job(kNetwork), "f.yaml");
  const auto b =
      parse_job_spec(std::string("model:\n") + kRest, "f.yaml",
                     {"model.layers=[{name: flat, type: flatten}, {name: fc, type: linear, features: 10}]"});
  ASSERT_TRUE(a && b) << b.error().message;
  EXPECT_THAT(differences(*a, *b),
              ::testing::Contains("model.layers[8]: {name: fc, type: linear, features: 10} "
                                  "and none"));
  EXPECT_TRUE(differences(*a, *a).empty());
}

TEST(SpecLayers, RefusesWithPlacePathAndExpectation) {
  const struct {
    std::string layers, message;
  } cases[] = {
      {"    - {name: fc, type: linar, features: 3}\n",
       "f.yaml:3:24: model.layers[0].type: unknown type \"linar\"; did you mean \"linear\"?"},
      {"    - {name: fc, type: linear, featurs: 3}\n",
       "f.yaml:3:32: model.layers[0].\"featurs\": unknown key; did you mean \"features\"?\n"
       "f.yaml:3:7: model.layers[0].features: missing; expected a whole number from 1 to 65536"},
      {"    - {name: fc, type: linear, features: 0}\n",
       "f.yaml:3:42: model.layers[0].features: \"0\"; expected a whole number from 1 to 65536"},
      {"    - {name: fc, type: linear, features: 3, bias: 1}\n",
       "f.yaml:3:51: model.layers[0].bias: \"1\"; expected true or false"},
      {"    - {name: d, type: dropout, probability: 1}\n",
       "f.yaml:3:45: model.layers[0].probability: \"1\"; expected a number from 0, below 1"},
      {"    - {name: r, type: relu, slope: 1}\n",
       "f.yaml:3:29: model.layers[0].\"slope\": unknown key; the type relu has no options"},
      {"    - {type: relu}\n", "f.yaml:3:7: model.layers[0].name: missing; expected the layer's name"},
      {"    - {name: image, type: relu}\n",
       "f.yaml:3:14: model.layers[0].name: \"image\"; expected 1 to 64 letters, digits, '.', '_' and '-', no "
       "'.' at the ends, not \"image\""},
      {"    - relu\n",
       "f.yaml:3:7: model.layers[0]: \"relu\"; expected a map of name, type, inputs and options"},
      {"    - {name: a, type: relu}\n    - {name: a, type: relu}\n",
       "f.yaml:4:14: model.layers[1].name: \"a\" is the name of the layer at f.yaml:3:14 too; expected "
       "another"},
      {"    - {name: conv1, type: relu}\n    - {name: b, type: relu, inputs: cnv1}\n",
       "f.yaml:4:37: model.layers[1].inputs: \"cnv1\" is no earlier layer; did you mean \"conv1\"?"},
      {"    - {name: a, type: relu, inputs: [a]}\n",
       "f.yaml:3:38: model.layers[0].inputs: \"a\" is this layer itself; expected an earlier one"},
      {"    - {name: relu1, type: relu, inputs: [relu]}\n",
       "f.yaml:3:42: model.layers[0].inputs: \"relu\" is no earlier layer"},
      {"    - {name: a, type: relu, inputs: [b]}\n    - {name: b, type: relu}\n",
       "f.yaml:3:38: model.layers[0].inputs: \"b\" comes later; expected an earlier layer"},
      {"    - {name: a, type: relu}\n    - {name: b, type: add, inputs: [a]}\n",
       "f.yaml:4:36: model.layers[1].inputs: 1 of them; expected 2 for the type add"},
      {"    - {name: a, type: relu}\n    - {name: b, type: add}\n",
       "f.yaml:4:7: model.layers[1].inputs: missing; expected a list of 2 layers' names"},
      {"    - {name: a, type: relu}\n    - {name: b, type: relu, inputs: image}\n",
       "f.yaml:3:7: model.layers[0]: nothing uses the output of \"a\""},
      {"    []\n", "f.yaml:3:5: model.layers: an empty list; expected a list of layers"},
      {"    x\n", "f.yaml:3:5: model.layers: \"x\"; expected a list of layers"},
  };
  for (const auto& c : cases) EXPECT_EQ(problems(c.layers), c.message) << c.layers;
}

TEST(SpecLayers, IsInTheNamesPlace) {
  const auto refusal = [](const std::string& model) {
    const auto spec = parse_job_spec("model: " + model + "\n" + kRest, "f.yaml");
    return spec ? "accepted" : spec.error().message;
  };
  const std::string layers = "layers: [{name: fc, type: linear, features: 3}]";
  EXPECT_EQ(refusal("{name: lenet, " + layers + "}"),
            "f.yaml:1:30: model.layers: given beside model.name; expected one of the two");
  EXPECT_EQ(refusal("{width: 3, " + layers + "}"),
            "f.yaml:1:16: model.width: an option beside model.layers; expected it in one of the layers");
  EXPECT_THAT(refusal("{layer: 3}"), HasSubstr("model.layer: unknown key; did you mean \"layers\"?"));
}

}  // namespace
}  // namespace seng
