#include "actors/nn/layers.h"
#include "actors/nn/zoo.h"

namespace seng {

Result<Graph> build_lenet(const ZooOptions&, ImageShape input, int classes) {
  Graph graph(input, classes);
  int channels = 32;
  for (const std::string number : {"1", "2"}) {
    graph.add("conv" + number, conv2d({.channels = channels, .padding = 1, .bias = false}));
    graph.add("bn" + number, batch_norm());
    graph.add("relu" + number, relu());
    graph.add("pool" + number, max_pool({}));
    channels *= 2;
  }
  graph.add("flatten", flatten());
  graph.add("fc1", linear(128));
  graph.add("relu3", relu());
  graph.add("fc2", linear(classes));
  return graph;
}

}  // namespace seng
