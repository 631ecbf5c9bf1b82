#include "actors/nn/graph.h"

#include <set>

namespace seng {
namespace {

// A run of 2^31 floats is where kernels' 32-bit indices end.
constexpr std::size_t kLargestTensor = std::size_t{1} << 31;

Status check_connections(const Graph& graph) {
  std::set<std::string> names;
  std::vector<bool> used(graph.nodes.size());
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
    const Node& node = graph.nodes[i];
    if (node.name.empty() || !names.insert(node.name).second) {
      return fail(ErrorCode::kInvalidArgument, "two layers are named \"" + node.name + "\"");
    }
    for (const int input : node.inputs) {
      if (input < kImage || input >= static_cast<int>(i)) {
        return fail(ErrorCode::kInvalidArgument,
                    "layer " + node.name + " takes an input that comes after it");
      }
      if (input != kImage) used[input] = true;
    }
  }
  for (std::size_t i = 0; i + 1 < graph.nodes.size(); ++i) {
    if (!used[i])
      return fail(ErrorCode::kInvalidArgument, "nothing uses the output of layer " + graph.nodes[i].name);
  }
  return {};
}

}  // namespace

int Graph::add(std::string name, LayerPtr layer, std::vector<int> inputs) {
  if (inputs.empty()) inputs = {static_cast<int>(nodes.size()) - 1};
  nodes.push_back({std::move(name), std::move(layer), std::move(inputs), {}, -1});
  return static_cast<int>(nodes.size()) - 1;
}

Status Graph::complete() {
  if (input.channels < 1 || input.height < 1 || input.width < 1 || classes < 1 || nodes.empty()) {
    return fail(ErrorCode::kInvalidArgument, "a network needs layers, an image size and at least one class");
  }
  SENG_TRY(check_connections(*this));
  for (Node& node : nodes) {
    std::vector<TensorShape> shapes;
    for (const int from : node.inputs) {
      shapes.push_back(from == kImage ? TensorShape{1, input.channels, input.height, input.width}
                                      : nodes[from].output);
    }
    const auto output = node.layer->output(shapes);
    if (!output) return fail(output.error().with_context("layer " + node.name));
    if (output->count() >= kLargestTensor) {
      return fail(ErrorCode::kInvalidArgument,
                  "layer " + node.name + " has more outputs than can be indexed");
    }
    node.output = *output;
    auto block = node.layer->block(node.name, shapes[0], node.output);
    if (!block) continue;
    block->offset = parameter_count;
    block->statistics_offset = statistics_count;
    for (BlockTensor& tensor : block->parameters) tensor.offset += parameter_count;
    for (BlockTensor& tensor : block->statistics) tensor.offset += statistics_count;
    parameter_count += block->count;
    statistics_count += block->statistics_count;
    node.block = static_cast<int>(blocks.size());
    blocks.push_back(std::move(*block));
  }
  if (nodes.back().output != TensorShape{1, classes}) {
    return fail(ErrorCode::kInvalidArgument,
                "the last layer, " + nodes.back().name + ", must give one value for each of the " +
                    std::to_string(classes) + " classes, not " + shape_of_one(nodes.back().output));
  }
  if (blocks.empty()) return fail(ErrorCode::kInvalidArgument, "the network has no parameters");
  return {};
}

}  // namespace seng
