#include "actors/nn/written_graph.h"

#include <charconv>
#include <map>

#include "actors/nn/layers.h"
#include "protocol/spec/spec_layers.h"

namespace seng {
namespace {

template <class T>
T value_of(const LayerSpec& layer, std::string_view option) {
  const std::string text = layer_option(layer, option);
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  SENG_CHECK(error == std::errc() && end == text.data() + text.size(), "a checked option");
  return value;
}

LayerPtr convolution(const LayerSpec& layer) {
  const int kernel = value_of<int>(layer, "kernel");
  return conv2d({.channels = value_of<int>(layer, "channels"),
                 .kernel_h = kernel,
                 .kernel_w = kernel,
                 .stride = value_of<int>(layer, "stride"),
                 .padding = value_of<int>(layer, "padding"),
                 .bias = layer_option(layer, "bias") == "true"});
}

PoolOptions pooling(const LayerSpec& layer) {
  return {.kernel = value_of<int>(layer, "kernel"),
          .stride = value_of<int>(layer, "stride"),
          .padding = value_of<int>(layer, "padding")};
}

struct Factory {
  std::string_view type;
  LayerPtr (*make)(const LayerSpec&);
};
// A line for each type of spec_layers.cpp.
constexpr Factory kFactories[] = {
    {"conv2d", convolution},
    {"linear",
     [](const LayerSpec& l) {
       return linear(value_of<int>(l, "features"), layer_option(l, "bias") == "true");
     }},
    {"batch_norm", [](const LayerSpec&) { return batch_norm(); }},
    {"relu", [](const LayerSpec&) { return relu(); }},
    {"add", [](const LayerSpec&) { return add(); }},
    {"flatten", [](const LayerSpec&) { return flatten(); }},
    {"dropout", [](const LayerSpec& l) { return dropout(value_of<double>(l, "probability")); }},
    {"max_pool", [](const LayerSpec& l) { return max_pool(pooling(l)); }},
    {"average_pool", [](const LayerSpec& l) { return average_pool(pooling(l)); }},
    {"global_average_pool", [](const LayerSpec&) { return global_average_pool(); }},
    {"adaptive_average_pool",
     [](const LayerSpec& l) { return adaptive_average_pool(value_of<int>(l, "size")); }},
};

LayerPtr make_layer(const LayerSpec& layer) {
  for (const Factory& factory : kFactories) {
    if (factory.type == layer.type) return factory.make(layer);
  }
  return nullptr;
}

}  // namespace

Result<Graph> build_from_layers(const std::vector<LayerSpec>& layers, ImageShape input, int classes) {
  Graph graph(input, classes);
  std::map<std::string, int> index_of = {{std::string(kImageInput), kImage}};
  for (const LayerSpec& layer : layers) {
    LayerPtr made = make_layer(layer);
    if (!made) {
      return fail(ErrorCode::kUnsupported,
                  "layer " + layer.name + ": the type " + layer.type + " is not offered");
    }
    std::vector<int> inputs;
    for (const std::string& name : layer.inputs) {
      const auto found = index_of.find(name);
      SENG_CHECK(found != index_of.end(), "inputs are earlier layers");
      inputs.push_back(found->second);
    }
    index_of[layer.name] = graph.add(layer.name, std::move(made), std::move(inputs));
  }
  return graph;
}

}  // namespace seng
