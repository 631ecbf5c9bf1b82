#include "actors/nn/layers.h"
#include "actors/nn/zoo.h"

namespace seng {
namespace {

LayerPtr convolution(int channels, int kernel, int stride) {
  return conv2d({.channels = channels,
                 .kernel_h = kernel,
                 .kernel_w = kernel,
                 .stride = stride,
                 .padding = kernel / 2,
                 .bias = false,
                 .initialisation = WeightInitialisation::kKaimingNormal});
}

// Two 3x3 convolutions and a shortcut, which is a 1x1 convolution where the shape changes.
int add_basic_block(Graph& graph, const std::string& name, int input, int channels, int stride,
                    bool project) {
  graph.add(name + ".conv1", convolution(channels, 3, stride), {input});
  graph.add(name + ".bn1", batch_norm());
  graph.add(name + ".relu1", relu());
  graph.add(name + ".conv2", convolution(channels, 3, 1));
  const int residual = graph.add(name + ".bn2", batch_norm());
  int shortcut = input;
  if (project) {
    graph.add(name + ".downsample.0", convolution(channels, 1, stride), {input});
    shortcut = graph.add(name + ".downsample.1", batch_norm());
  }
  graph.add(name + ".add", add(), {residual, shortcut});
  return graph.add(name + ".relu2", relu());
}

}  // namespace

Result<Graph> build_resnet18(const ZooOptions& options, ImageShape input, int classes) {
  int width = 64;
  if (const auto given = options.find("width"); given != options.end()) {
    const auto parsed = parse_width("width", given->second, 1024);
    if (!parsed) return fail(parsed.error());
    width = *parsed;
  }
  Graph graph(input, classes);
  graph.add("conv1", convolution(width, 3, 1));
  graph.add("bn1", batch_norm());
  int last = graph.add("relu", relu());
  for (int stage = 0; stage < 4; ++stage) {
    const std::string name = "layer" + std::to_string(stage + 1);
    const int channels = width << stage;
    last = add_basic_block(graph, name + ".0", last, channels, stage == 0 ? 1 : 2, stage != 0);
    last = add_basic_block(graph, name + ".1", last, channels, 1, false);
  }
  graph.add("avgpool", global_average_pool());
  graph.add("flatten", flatten());
  graph.add("fc", linear(classes));
  return graph;
}

}  // namespace seng
