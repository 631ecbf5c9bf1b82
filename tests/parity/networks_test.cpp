// Whole networks on the CPU and on CUDA: a training pass with all that it hands out, an evaluation, logits.
#include <cmath>
#include <random>

#include <gtest/gtest.h>

#include "tests/actors/nn/recorder.h"
#include "tests/parity/machine.h"
#include "tests/parity/require_cuda.h"

namespace seng::testing {
namespace {

using reference::Recorder;
using reference::Weights;

struct Case {
  std::string name, model;  // no model: written()
  std::map<std::string, std::string> options;
  ImageShape image;
  bool large = false;
};

// What the zoo has not: batch norm and pooling of what comes plain, dropout, biases, a value with three
// users.
std::vector<LayerSpec> written() {
  return {{"pool0", "max_pool", {}, {{"kernel", "3"}, {"stride", "1"}, {"padding", "1"}}},
          {"bn0", "batch_norm", {}, {}},
          {"relu0", "relu", {}, {}},
          {"conv1", "conv2d", {}, {{"channels", "6"}, {"kernel", "5"}, {"padding", "2"}}},
          {"a", "relu", {}, {}},
          {"conv2", "conv2d", {"a"}, {{"channels", "6"}, {"kernel", "3"}, {"padding", "1"}}},
          {"sum1", "add", {"a", "conv2"}, {}},
          {"sum2", "add", {"a", "sum1"}, {}},
          {"relu2", "relu", {}, {}},
          {"pool", "average_pool", {}, {{"kernel", "2"}, {"stride", "2"}}},
          {"flat", "flatten", {}, {}},
          {"drop", "dropout", {}, {{"probability", "0.4"}}},
          {"fc", "linear", {}, {{"features", "10"}}}};
}

const std::vector<Case>& cases() {
  static const std::vector<Case> all = {
      {"mlp", "mlp", {{"hidden", "20,12"}}, {2, 5, 5}},
      {"lenet", "lenet", {}, {1, 28, 28}},
      {"resnet18", "resnet18", {{"width", "2"}}, {3, 12, 12}},
      {"resnet50", "resnet50", {{"width", "4"}}, {3, 12, 12}, true},
      {"resnet18_imagenet_stem", "resnet18", {{"width", "4"}, {"stem", "imagenet"}}, {3, 33, 33}, true},
      {"vgg11", "vgg11_bn", {{"width", "4"}}, {3, 32, 32}, true},
      {"written", "", {}, {3, 10, 10}},
  };
  return all;
}

struct Outcome {
  Recorder recorder;
  LossSum evaluation;
  Values logits;
};

struct Input {
  Values images;
  std::vector<std::int32_t> labels, partners;
  Values weights;
  MicroBatch batch;
};

constexpr int kSamples = 6, kFactorSamples = 2, kClasses = 10;

struct Way {
  Device device;
  Arithmetic precision = Arithmetic::kF32;
  float loss_scale = 1;
};

Outcome run_on(const Way& way, const Network& network, const Weights& weights, const Input& input) {
  ReplicaOptions options;
  options.device = way.device;
  options.precision = way.precision;
  options.micro_batch = kSamples;
  options.label_smoothing = 0.1;
  options.direct_convolution = true;
  Replica replica(network, options);
  Outcome run{Recorder(network), {}, Values(std::size_t(kSamples - 1) * kClasses)};
  Recorder first(network);  // the second pass finds what the first has left in memory
  for (Recorder* recorder : {&first, &run.recorder}) {
    replica.load(weights.parameters, weights.statistics);
    MicroBatch batch = input.batch;
    batch.loss_scale = way.loss_scale;
    recorder->loss = replica.train(batch, kFactorSamples, *recorder);
  }
  MicroBatch fewer = input.batch;
  fewer.samples = kSamples - 1;
  fewer.partners = nullptr;
  fewer.weights = nullptr;
  run.evaluation = replica.evaluate(fewer);
  replica.logits(fewer, run.logits);
  return run;
}

Input draw(const ImageShape& image, Random& random, bool mixed) {
  Input input;
  input.images = normal(random, kSamples * image.count());
  for (int i = 0; i < kSamples; ++i) {
    input.labels.push_back(static_cast<std::int32_t>(random.below(kClasses)));
    input.partners.push_back(static_cast<std::int32_t>(random.below(kClasses)));
    input.weights.push_back(random.uniform());
  }
  input.batch = {kSamples, input.images.data(), input.labels.data(), random.next_u32(), 3, 17};
  if (mixed) {
    input.batch.partners = input.partners.data();
    input.batch.weights = input.weights.data();
  }
  return input;
}

Values narrowed(const std::vector<double>& values) {
  return {values.begin(), values.end()};
}

// The largest of all relative errors.
double difference(const Network& network, const Outcome& cuda, const Outcome& cpu) {
  double worst = 0;
  for (std::size_t b = 0; b < network.blocks().size(); ++b) {
    const Block& block = network.blocks()[b];
    const auto gradient = [&](const Outcome& run) {
      const auto begin = run.recorder.gradient.begin() + static_cast<std::ptrdiff_t>(block.offset);
      return Values(begin, begin + static_cast<std::ptrdiff_t>(block.count));
    };
    for (const double error :
         {relative_error(gradient(cuda), gradient(cpu)),
          relative_error(narrowed(cuda.recorder.activations[b]), narrowed(cpu.recorder.activations[b])),
          relative_error(narrowed(cuda.recorder.gradients[b]), narrowed(cpu.recorder.gradients[b]))})
      worst = std::max(worst, error);
  }
  const Values losses = {static_cast<float>(cuda.recorder.loss.loss),
                         static_cast<float>(cuda.evaluation.loss)};
  return std::max({worst, relative_error(cuda.recorder.statistics, cpu.recorder.statistics),
                   relative_error(cuda.logits, cpu.logits),
                   relative_error(losses, {static_cast<float>(cpu.recorder.loss.loss),
                                           static_cast<float>(cpu.evaluation.loss)})});
}

class NetworksOnCuda : public ::testing::TestWithParam<std::size_t> {
 protected:
  // One draw of weights and images.
  double compare(const Network& network, const ImageShape& image, const Way& way = {Device::kCuda}) {
    const std::uint64_t seed = std::random_device()();
    Random random(seed, RandomPurpose::kSynthetic);
    const Weights weights = reference::random_weights(network, seed);
    const Input input = draw(image, random, GetParam() % 2 == 1);
    const Outcome cuda = run_on(way, network, weights, input);
    const Outcome cpu = run_on({Device::kCpu}, network, weights, input);
    EXPECT_EQ(cuda.recorder.order, cpu.recorder.order);
    EXPECT_EQ(cuda.recorder.factor_order, cpu.recorder.factor_order);
    EXPECT_TRUE(run_on(way, network, weights, input).recorder == cuda.recorder) << "other bits";
    return difference(network, cuda, cpu);
  }
};

TEST_P(NetworksOnCuda, GiveWhatTheyGiveOnTheCpu) {
  SENG_REQUIRE_CUDA(Arithmetic::kF32);
  const Case& c = cases()[GetParam()];
  if (emulated() && c.large) GTEST_SKIP() << "too large for the emulated GPU";
  const auto network = c.model.empty() ? Network::create(written(), c.image, kClasses)
                                       : Network::create(c.model, c.options, c.image, kClasses);
  ASSERT_TRUE(network) << network.error().message;
  // A relu or a maximum whose inputs are nearly equal goes the other way now and then: another draw.
  constexpr double kBound = 2e-4;
  double error = 1;
  for (int attempt = 0; attempt < 3 && !(error <= kBound); ++attempt) error = compare(*network, c.image);
  EXPECT_LE(error, kBound);
  std::printf("largest relative error %.1e\n", error);
}

// Of the deep ones a batch of 6 says nothing: their batch norms and relus make much of any rounding.
TEST_P(NetworksOnCuda, InMixedPrecisionGiveNearlyThat) {
  SENG_REQUIRE_CUDA(Arithmetic::kBf16);
  const Case& c = cases()[GetParam()];
  if (c.name != "mlp" && c.name != "written") GTEST_SKIP() << "too deep for a bound";
  const auto network = c.model.empty() ? Network::create(written(), c.image, kClasses)
                                       : Network::create(c.model, c.options, c.image, kClasses);
  ASSERT_TRUE(network) << network.error().message;
  const auto error_of = [&](const Way& way, double bound) {
    double error = compare(*network, c.image, way);
    for (int attempt = 1; attempt < 3 && !(error <= bound); ++attempt)
      error = std::min(error, compare(*network, c.image, way));
    std::printf("%s, loss times %g: largest relative error %.1e\n", arithmetic_name(way.precision),
                way.loss_scale, error);
    return error;
  };
  EXPECT_LE(error_of({Device::kCuda, Arithmetic::kBf16}, 0.1), 0.1);
  EXPECT_LE(error_of({Device::kCuda, Arithmetic::kF16, 256}, 0.05), 0.05);
  // A loss so small that its gradients are lost in 16 bits.
  EXPECT_GT(error_of({Device::kCuda, Arithmetic::kF16, 0x1p-22f}, 2), 0.2);
}

INSTANTIATE_TEST_SUITE_P(Zoo, NetworksOnCuda, ::testing::Range(std::size_t{0}, cases().size()),
                         [](const auto& info) { return cases()[info.param].name; });

}  // namespace
}  // namespace seng::testing
