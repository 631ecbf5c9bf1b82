// Training on mixtures of two classes: loss, gradient and factors are those of the mixed target.
#include <cmath>

#include <gtest/gtest.h>

#include "tests/actors/nn/recorder.h"
#include "tests/actors/nn/reference_network.h"

namespace seng::reference {
namespace {

constexpr int kSamples = 5, kClasses = 4;

TEST(Mixture, IsLinearInTheTarget) {
  const ImageShape image{3, 6, 6};
  ReferenceNetwork built(image, kClasses);
  built.conv("conv", {8, 3, 3, 1, 1, true});
  built.relu();
  built.flatten();
  built.linear("fc", kClasses);
  const Network network = built.network();
  const Weights weights = random_weights(network, 2);
  Batch batch = random_batch(4, kSamples, image, kClasses);
  batch.labels = {0, 1, 2, 3, 1};
  const std::vector<std::int32_t> partners = {1, 2, 2, 0, 3};
  const std::vector<float> shares = {0.25f, 0.5f, 0.9f, 0, 1};
  ReplicaOptions options;
  options.micro_batch = kSamples;
  options.direct_convolution = true;
  options.label_smoothing = 0.1;
  const auto train = [&](MicroBatch micro) {
    Replica replica(network, options);
    replica.load(weights.parameters, weights.statistics);
    Recorder recorder(network);
    recorder.loss = replica.train(micro, kSamples, recorder);
    return recorder;
  };
  MicroBatch micro = batch.micro();
  const Recorder first = train(micro);
  micro.labels = partners.data();
  const Recorder second = train(micro);
  micro = batch.micro();
  micro.partners = partners.data();
  micro.weights = shares.data();
  const Recorder mixed = train(micro);

  // Per sample, in the factors: the gradient with respect to each layer's output.
  for (std::size_t block = 0; block < network.blocks().size(); ++block) {
    const std::size_t each = mixed.gradients[block].size() / kSamples;
    for (int sample = 0; sample < kSamples; ++sample) {
      double error = 0, size = 0;
      for (std::size_t i = sample * each; i < (sample + 1) * each; ++i) {
        const double w = shares[sample];
        const double expected = w * first.gradients[block][i] + (1 - w) * second.gradients[block][i];
        error += std::pow(mixed.gradients[block][i] - expected, 2);
        size += expected * expected;
      }
      EXPECT_LT(std::sqrt(error / size), 1e-5) << block << " " << sample;
    }
  }
  EXPECT_NE(mixed.gradient, first.gradient);
}

TEST(Mixture, LossAndHitsAreOfTheMixedTarget) {
  ReferenceNetwork built({kClasses, 1, 1}, kClasses);
  built.linear("fc", kClasses);
  const Network network = built.network();
  // The logits are the image.
  std::vector<float> parameters(network.parameter_count()), statistics;
  for (int c = 0; c < kClasses; ++c) parameters[c * kClasses + c] = 1;
  const std::vector<float> images = {2, 1, 0, 0, 0, 3, 1, 0, 1, 0, 0, 4};
  const std::vector<std::int32_t> labels = {0, 0, 0}, partners = {1, 1, 3};
  const std::vector<float> shares = {0.6f, 0.3f, 0.5f};
  ReplicaOptions options;
  options.micro_batch = 3;
  Replica replica(network, options);
  replica.load(parameters, statistics);
  MicroBatch micro{3, images.data(), labels.data()};
  micro.partners = partners.data();
  micro.weights = shares.data();
  Recorder recorder(network);
  const LossSum sum = replica.train(micro, 0, recorder);
  double expected = 0;
  for (int s = 0; s < 3; ++s) {
    double total = 0;
    for (int c = 0; c < kClasses; ++c) total += std::exp(double(images[s * kClasses + c]));
    const auto loss = [&](int label) { return std::log(total) - images[s * kClasses + label]; };
    expected += shares[s] * loss(labels[s]) + (1 - double(shares[s])) * loss(partners[s]);
  }
  EXPECT_NEAR(sum.loss, expected, 1e-6);
  EXPECT_EQ(sum.hits, 2u) << "0 of the first, 1 of the second; the third's larger share is 0, not 3";
}

}  // namespace
}  // namespace seng::reference
