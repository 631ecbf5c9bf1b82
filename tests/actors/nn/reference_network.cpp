#include "tests/actors/nn/reference_network.h"

#include <cmath>

#include "actors/engine/random.h"
#include "actors/nn/layers.h"
#include "tests/actors/nn/reference_operations.h"

namespace seng::reference {
namespace {

// Loss, hits and the gradient of the loss sum with respect to the logits.
Tensor cross_entropy(const Tensor& logits, const std::vector<std::int32_t>& labels, double smoothing,
                     Outcome& outcome) {
  Tensor gradient = logits;
  for (int i = 0; i < logits.n; ++i) {
    double sum = 0;
    int best = 0;
    for (int c = 0; c < logits.c; ++c) {
      sum += std::exp(logits.at(i, c, 0, 0));
      if (logits.at(i, c, 0, 0) > logits.at(i, best, 0, 0)) best = c;
    }
    outcome.hits += best == labels[i];
    for (int c = 0; c < logits.c; ++c) {
      const double target = smoothing / logits.c + (c == labels[i] ? 1 - smoothing : 0);
      const double probability = std::exp(logits.at(i, c, 0, 0)) / sum;
      outcome.loss -= target * std::log(probability);
      gradient.at(i, c, 0, 0) = probability - target;
    }
  }
  return gradient;
}

void accumulate(Tensor& sum, const Tensor& term) {
  if (sum.values.empty()) {
    sum = term;
    return;
  }
  for (std::size_t i = 0; i < sum.values.size(); ++i) sum.values[i] += term.values[i];
}

}  // namespace

Batch random_batch(std::uint64_t seed, int samples, ImageShape shape, int classes) {
  Random random(seed, RandomPurpose::kSynthetic);
  Batch batch;
  batch.samples = samples;
  batch.images.resize(samples * shape.count());
  for (float& value : batch.images) value = random.normal();
  for (int i = 0; i < samples; ++i) batch.labels.push_back(static_cast<std::int32_t>(random.below(classes)));
  return batch;
}

ReferenceNetwork::ReferenceNetwork(ImageShape input, int classes) : graph_(input, classes) {}
ReferenceNetwork::~ReferenceNetwork() = default;

int ReferenceNetwork::append(std::unique_ptr<Operation> operation, std::vector<int> inputs,
                             const std::string& name, LayerPtr layer) {
  const int last = static_cast<int>(nodes_.size()) - 1;
  for (int& input : inputs) input = input == kLast ? last : input;
  nodes_.push_back({std::move(operation), inputs});
  return graph_.add(name.empty() ? "layer" + std::to_string(last + 1) : name, std::move(layer), inputs);
}

int ReferenceNetwork::conv(const std::string& name, const Conv2dShape& s, int from) {
  Conv2dOptions options;
  options.channels = s.channels;
  options.kernel_h = s.kernel_h;
  options.kernel_w = s.kernel_w;
  options.stride = s.stride;
  options.padding = s.padding;
  options.bias = s.bias;
  return append(conv_operation(s), {from}, name, conv2d(options));
}
int ReferenceNetwork::linear(const std::string& name, int features, bool bias) {
  return append(linear_operation(features, bias), {kLast}, name, seng::linear(features, bias));
}
int ReferenceNetwork::batch_norm(const std::string& name, int from) {
  return append(batch_norm_operation(), {from}, name, seng::batch_norm());
}
int ReferenceNetwork::relu(int from) {
  return append(relu_operation(), {from}, "", seng::relu());
}
int ReferenceNetwork::max_pool(int kernel, int stride, int padding) {
  return append(pool_operation(true, kernel, stride, padding), {kLast}, "",
                seng::max_pool({kernel, stride, padding}));
}
int ReferenceNetwork::average_pool(int kernel, int stride, int padding) {
  return append(pool_operation(false, kernel, stride, padding), {kLast}, "",
                seng::average_pool({kernel, stride, padding}));
}
int ReferenceNetwork::global_average_pool() {
  return append(pool_operation(false, 0, 1, 0), {kLast}, "", seng::global_average_pool());
}
int ReferenceNetwork::flatten() {
  return append(flatten_operation(), {kLast}, "", seng::flatten());
}
int ReferenceNetwork::add(int a, int b) {
  return append(add_operation(), {a, b}, "", seng::add());
}
int ReferenceNetwork::dropout(double probability) {
  return append(dropout_operation(probability, static_cast<std::uint32_t>(nodes_.size())), {kLast}, "",
                seng::dropout(probability));
}

Network ReferenceNetwork::network() const {
  auto network = Network::from_graph(graph_);
  SENG_CHECK(network.has_value(), network.error().message);
  return *network;
}

Outcome ReferenceNetwork::train(const std::vector<double>& parameters, const Batch& batch,
                                double smoothing) const {
  return run(parameters, nullptr, batch, smoothing);
}

Outcome ReferenceNetwork::evaluate(const std::vector<double>& parameters,
                                   const std::vector<double>& statistics, const Batch& batch) const {
  return run(parameters, &statistics, batch, 0);
}

Outcome ReferenceNetwork::run(const std::vector<double>& parameters, const std::vector<double>* running,
                              const Batch& batch, double smoothing) const {
  const Network network = this->network();
  const Graph& graph = network.graph();
  Outcome outcome;
  outcome.gradient.resize(network.parameter_count());
  outcome.statistics.resize(network.statistics_count());
  outcome.activations.resize(graph.blocks.size());
  outcome.output_gradients.resize(graph.blocks.size());

  Tensor image(batch.samples, graph.input.channels, graph.input.height, graph.input.width);
  image.values.assign(batch.images.begin(), batch.images.end());
  std::vector<Tensor> values(nodes_.size()), gradients(nodes_.size());
  const auto context = [&](std::size_t i) {
    Context result;
    result.training = running == nullptr;
    result.batch = &batch;
    if (graph.nodes[i].block < 0) return result;
    const Block& block = graph.blocks[graph.nodes[i].block];
    result.parameters = parameters.data() + block.offset;
    result.gradient = outcome.gradient.data() + block.offset;
    result.statistics = outcome.statistics.data() + block.statistics_offset;
    if (running != nullptr) result.running = running->data() + block.statistics_offset;
    result.activations = &outcome.activations[graph.nodes[i].block];
    return result;
  };
  const auto inputs = [&](std::size_t i) {
    std::vector<const Tensor*> x;
    for (const int input : nodes_[i].inputs) x.push_back(input == kImage ? &image : &values[input]);
    return x;
  };
  for (std::size_t i = 0; i < nodes_.size(); ++i)
    values[i] = nodes_[i].operation->forward(inputs(i), context(i));
  outcome.logits = values.back();
  gradients.back() = cross_entropy(values.back(), batch.labels, smoothing, outcome);
  if (running != nullptr) return outcome;
  for (std::size_t i = nodes_.size(); i-- > 0;) {
    if (graph.nodes[i].block >= 0) outcome.output_gradients[graph.nodes[i].block] = gradients[i];
    const auto dx = nodes_[i].operation->backward(inputs(i), values[i], gradients[i], context(i));
    for (std::size_t k = 0; k < dx.size(); ++k) {
      if (nodes_[i].inputs[k] != kImage) accumulate(gradients[nodes_[i].inputs[k]], dx[k]);
    }
  }
  return outcome;
}

double relative_error(const std::vector<double>& a, const std::vector<double>& b) {
  SENG_CHECK(a.size() == b.size(), "vectors of one size");
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    difference += (a[i] - b[i]) * (a[i] - b[i]);
    norm += b[i] * b[i];
  }
  return std::sqrt(difference / std::max(norm, 1e-300));
}

}  // namespace seng::reference
