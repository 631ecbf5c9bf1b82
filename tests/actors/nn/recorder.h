// Runs a replica once and keeps what it hands out.
#pragma once

#include <vector>

#include "actors/nn/network.h"
#include "tests/actors/nn/reference_network.h"

namespace seng::reference {

struct Recorder final : BackwardSink {
  explicit Recorder(const Network& network)
      : gradient(network.parameter_count()), statistics(network.statistics_count()), network_(network) {
    activations.resize(network.blocks().size());
    gradients.resize(network.blocks().size());
  }

  void on_factors(std::size_t block, const SampleFactors& factors) override {
    const FactorSizes sizes = factor_sizes(network_.blocks()[block]);
    activations[block].assign(factors.activations, factors.activations + factors.samples * sizes.activations);
    gradients[block].assign(factors.gradients, factors.gradients + factors.samples * sizes.gradients);
    factor_order.push_back(block);
  }

  void on_gradient(std::size_t block, std::span<const float> g, std::span<const float> s) override {
    const Block& b = network_.blocks()[block];
    SENG_CHECK(g.size() == b.count && s.size() == b.statistics_count, "sizes handed to the sink");
    std::copy(g.begin(), g.end(), gradient.begin() + b.offset);
    std::copy(s.begin(), s.end(), statistics.begin() + b.statistics_offset);
    order.push_back(block);
  }

  // Bits of everything, for comparisons.
  bool operator==(const Recorder& other) const {
    return gradient == other.gradient && statistics == other.statistics && activations == other.activations &&
           gradients == other.gradients && loss.loss == other.loss.loss && loss.hits == other.loss.hits;
  }

  std::vector<float> gradient, statistics;
  std::vector<std::vector<double>> activations, gradients;  // per block
  std::vector<std::size_t> order, factor_order;
  LossSum loss;

 private:
  const Network& network_;
};

struct Weights {
  std::vector<float> parameters, statistics;
  std::vector<double> parameters64() const { return {parameters.begin(), parameters.end()}; }
  std::vector<double> statistics64() const { return {statistics.begin(), statistics.end()}; }
};

// Initialised, then moved off the special values (batch norm's 1 and 0).
inline Weights random_weights(const Network& network, std::uint64_t seed) {
  Weights weights{std::vector<float>(network.parameter_count()),
                  std::vector<float>(network.statistics_count())};
  network.initialise(seed, weights.parameters, weights.statistics);
  Random random(seed, RandomPurpose::kSynthetic, 77);
  for (const Block& block : network.blocks()) {
    if (block.kind != BlockKind::kBatchNorm) continue;
    for (std::size_t i = 0; i < block.count; ++i)
      weights.parameters[block.offset + i] += 0.3f * random.normal();
    for (std::size_t i = 0; i < block.statistics_count; ++i) {
      weights.statistics[block.statistics_offset + i] += 0.4f * random.uniform();
    }
  }
  return weights;
}

inline Recorder train_once(const Network& network, const ReplicaOptions& options, const Weights& weights,
                           const Batch& batch, int factor_samples = 0) {
  Replica replica(network, options);
  replica.load(weights.parameters, weights.statistics);
  Recorder recorder(network);
  recorder.loss = replica.train(batch.micro(), factor_samples, recorder);
  return recorder;
}

inline std::vector<double> widened(std::span<const float> values) {
  return {values.begin(), values.end()};
}

// A block's run of a flat array.
template <class T>
std::vector<double> run_of(const Block& block, const std::vector<T>& flat) {
  return {flat.begin() + block.offset, flat.begin() + block.offset + block.count};
}

}  // namespace seng::reference
