// The layers of a network and their connections.
#pragma once

#include <string>
#include <vector>

#include "actors/nn/layer.h"
#include "actors/nn/network.h"

namespace seng {

inline constexpr int kImage = -1;  // as an input: the network's own

struct Node {
  std::string name;
  LayerPtr layer;
  std::vector<int> inputs;  // earlier nodes, or kImage
  TensorShape output;       // n = 1; set by complete()
  int block = -1;           // its index in blocks, if the layer has parameters
};

struct Graph {
  Graph(ImageShape image, int class_count) : input(image), classes(class_count) {}

  ImageShape input;
  int classes = 0;
  std::vector<Node> nodes;  // each after its inputs; the last one gives the logits [classes, 1, 1]
  std::vector<Block> blocks;
  std::size_t parameter_count = 0, statistics_count = 0;

  // Appends a layer and returns its index. Without inputs it follows the last node (or the image).
  int add(std::string name, LayerPtr layer, std::vector<int> inputs = {});

  // Checks the graph and fills in shapes, blocks and counts; once, after the last add().
  Status complete();
};

}  // namespace seng
