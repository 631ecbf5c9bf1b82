// Curvature factors are what the reference has, and give the gradient back when summed over samples.
#include <gtest/gtest.h>

#include "tests/actors/nn/recorder.h"
#include "tests/actors/nn/reference_network.h"

namespace seng::reference {
namespace {

std::unique_ptr<ReferenceNetwork> mixed_network() {
  auto network = std::make_unique<ReferenceNetwork>(ImageShape{3, 9, 8}, 4);
  network->conv("conv1", {16, 3, 3, 1, 1, true});
  network->batch_norm("bn1");
  network->relu();
  network->max_pool(2, 2, 0);
  const int a = network->conv("conv2", {32, 3, 3, 1, 1, false});
  const int b = network->conv("conv3", {32, 1, 1, 1, 0, true});
  const int norm = network->batch_norm("bn2", b);
  network->add(norm, a);
  network->relu();
  network->conv("conv4", {10, 3, 3, 2, 0, true});
  network->flatten();
  network->linear("fc1", 12);
  network->relu();
  network->linear("fc2", 4, false);
  return network;
}

// sum_i G_i A_i^T and the bias column, from factors in plain layouts.
std::vector<double> gradient_from_factors(const Block& block, int samples,
                                          const std::vector<double>& activations,
                                          const std::vector<double>& gradients) {
  std::vector<double> sum(block.count);
  if (block.kind == BlockKind::kBatchNorm) {
    for (std::size_t i = 0; i < gradients.size(); ++i) sum[i % block.count] += gradients[i];
    return sum;
  }
  const auto g = [&](int i, std::int64_t row, std::int64_t k) {
    return gradients[(i * block.m + row) * block.positions + k];
  };
  for (int i = 0; i < samples; ++i) {
    for (std::int64_t row = 0; row < block.m; ++row) {
      for (std::int64_t k = 0; k < block.positions; ++k) {
        if (block.bias) sum[block.m * block.n + row] += g(i, row, k);
        if (block.kind == BlockKind::kLinear) {
          for (std::int64_t c = 0; c < block.n; ++c) {
            sum[row * block.n + c] += g(i, row, k) * activations[i * block.n + c];
          }
          continue;
        }
        const ConvolutionGeometry& s = block.conv;
        const int r = static_cast<int>(k) / s.width_out, q = static_cast<int>(k) % s.width_out;
        for (std::int64_t column = 0; column < block.n; ++column) {
          const int kw = column % s.kernel_w, kh = column / s.kernel_w % s.kernel_h;
          const int c = static_cast<int>(column / (s.kernel_w * s.kernel_h));
          const int h = r * s.stride - s.padding + kh, w = q * s.stride - s.padding + kw;
          if (h < 0 || h >= s.height_in || w < 0 || w >= s.width_in) continue;
          sum[row * block.n + column] +=
              g(i, row, k) * activations[((i * s.channels_in + c) * s.height_in + h) * s.width_in + w];
        }
      }
    }
  }
  return sum;
}

std::vector<double> first_samples(const Tensor& tensor, int samples) {
  const std::size_t count = tensor.values.size() / tensor.n * samples;
  return {tensor.values.begin(), tensor.values.begin() + count};
}

// [samples, 2, C] of a batch norm, from x-hat and the gradient of its output.
std::vector<double> norm_gradients(const Block& block, const std::vector<double>& normalised,
                                   const std::vector<double>& gradients, int samples) {
  std::vector<double> out(std::size_t(samples) * block.count);
  for (std::size_t i = 0; i < normalised.size(); ++i) {
    const std::size_t row = i / block.positions, sample = row / block.m, channel = row % block.m;
    out[sample * block.count + channel] += gradients[i] * normalised[i];
    out[sample * block.count + block.m + channel] += gradients[i];
  }
  return out;
}

class Factors : public ::testing::TestWithParam<bool> {};

TEST_P(Factors, OfAllSamplesSumToTheGradient) {
  const auto reference = mixed_network();
  const Network network = reference->network();
  const Batch batch = random_batch(4, 6, network.input(), 4);
  ReplicaOptions options;
  options.micro_batch = 6;
  options.direct_convolution = GetParam();
  const Recorder run = train_once(network, options, random_weights(network, 5), batch, 6);
  for (std::size_t b = 0; b < network.blocks().size(); ++b) {
    const Block& block = network.blocks()[b];
    const auto sum = gradient_from_factors(block, 6, run.activations[b], run.gradients[b]);
    EXPECT_LT(relative_error(sum, run_of(block, run.gradient)), GetParam() ? 1e-5 : 5e-4) << block.name;
  }
}

TEST_P(Factors, OfTheFirstSamplesEqualTheReference) {
  const auto reference = mixed_network();
  const Network network = reference->network();
  const Weights weights = random_weights(network, 5);
  const Batch batch = random_batch(4, 6, network.input(), 4);
  const Outcome expected = reference->train(weights.parameters64(), batch, 0);
  ReplicaOptions options;
  options.micro_batch = 6;
  options.direct_convolution = GetParam();
  for (const int samples : {1, 4, 6}) {
    const Recorder run = train_once(network, options, weights, batch, samples);
    for (std::size_t b = 0; b < network.blocks().size(); ++b) {
      const Block& block = network.blocks()[b];
      const double tolerance = GetParam() ? 5e-5 : 1e-3;
      const auto inputs = first_samples(expected.activations[b], samples);
      auto gradients = first_samples(expected.output_gradients[b], samples);
      if (block.kind == BlockKind::kBatchNorm) {
        gradients = norm_gradients(block, inputs, gradients, samples);
      } else {
        EXPECT_LT(relative_error(run.activations[b], inputs), tolerance) << block.name;
      }
      EXPECT_LT(relative_error(run.gradients[b], gradients), tolerance) << block.name;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Convolution, Factors, ::testing::Bool(),
                         [](const auto& info) { return info.param ? "Direct" : "Auto"; });

TEST(Factors, ComeBeforeTheGradientLastLayerFirstAndChangeNothing) {
  const auto reference = mixed_network();
  const Network network = reference->network();
  const Weights weights = random_weights(network, 5);
  const Batch batch = random_batch(4, 6, network.input(), 4);
  ReplicaOptions options;
  options.micro_batch = 6;
  const Recorder with = train_once(network, options, weights, batch, 3);
  const Recorder without = train_once(network, options, weights, batch, 0);
  EXPECT_TRUE(without.factor_order.empty());
  EXPECT_EQ(with.factor_order, with.order);
  EXPECT_EQ(with.gradient, without.gradient);
  EXPECT_EQ(with.statistics, without.statistics);
  std::vector<std::size_t> descending;
  for (std::size_t b = network.blocks().size(); b-- > 0;) descending.push_back(b);
  EXPECT_EQ(with.order, descending);
}

}  // namespace
}  // namespace seng::reference
