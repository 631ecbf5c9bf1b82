#include "actors/nn/network.h"

#include "actors/nn/graph.h"
#include "actors/nn/written_graph.h"
#include "actors/nn/zoo.h"

namespace seng {

Result<Network> Network::create(const std::string& name, const std::map<std::string, std::string>& options,
                                ImageShape input, int classes) {
  auto graph = build_from_zoo(name, options, input, classes);
  if (!graph) return fail(std::move(graph).error());
  auto network = from_graph(std::move(*graph));
  if (!network) return fail(network.error().with_context("model " + name));
  return network;
}

Result<Network> Network::create(const std::vector<LayerSpec>& layers, ImageShape input, int classes) {
  auto graph = build_from_layers(layers, input, classes);
  if (!graph) return fail(std::move(graph).error());
  return from_graph(std::move(*graph));
}

Result<Network> Network::from_graph(Graph graph) {
  SENG_TRY(graph.complete());
  Network network;
  network.graph_ = std::make_shared<const Graph>(std::move(graph));
  return network;
}

const std::vector<Block>& Network::blocks() const {
  return graph_->blocks;
}
std::size_t Network::parameter_count() const {
  return graph_->parameter_count;
}
std::size_t Network::statistics_count() const {
  return graph_->statistics_count;
}
ImageShape Network::input() const {
  return graph_->input;
}
int Network::classes() const {
  return graph_->classes;
}
const Graph& Network::graph() const {
  return *graph_;
}

void Network::initialise(std::uint64_t seed, std::span<float> parameters, std::span<float> statistics) const {
  SENG_CHECK(parameters.size() == parameter_count() && statistics.size() == statistics_count(),
             "the flat arrays' sizes");
  for (const Node& node : graph_->nodes) {
    if (node.block < 0) continue;
    const Block& block = graph_->blocks[node.block];
    Random random(seed, RandomPurpose::kInitialisation, node.block);
    node.layer->initialise(block, random, parameters.subspan(block.offset, block.count),
                           statistics.subspan(block.statistics_offset, block.statistics_count));
  }
}

}  // namespace seng
