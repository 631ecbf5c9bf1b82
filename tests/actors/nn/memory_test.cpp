// What a replica holds: as much as its plan says; less where activations are made again, with the same bits.
#include <gtest/gtest.h>

#include "tests/actors/nn/recorder.h"
#include "tests/actors/nn/reference_network.h"

namespace seng::reference {
namespace {

struct ZooCase {
  std::string name, label;
  std::map<std::string, std::string> options;
  ImageShape input;
  // Where the first layers' activations alone are the peak, making others again saves nothing.
  bool shrinks = true;
  friend void PrintTo(const ZooCase& one, std::ostream* out) { *out << one.label; }
};

std::vector<ZooCase> zoo_cases() {
  const ImageShape small{3, 16, 16}, large{3, 32, 32};
  return {{"mlp", "mlp", {{"hidden", "40,30,20"}}, {1, 9, 7}, false},
          {"lenet", "lenet", {}, {1, 28, 28}, false},
          {"resnet18", "resnet18", {{"width", "8"}}, small, true},
          {"resnet18", "resnet18_imagenet", {{"width", "8"}, {"stem", "imagenet"}}, large, true},
          {"resnet34", "resnet34", {{"width", "4"}}, small, true},
          {"resnet50", "resnet50", {{"width", "4"}}, small, true},
          {"vgg11_bn", "vgg11_bn", {{"width", "4"}}, large, false},
          {"vgg16_bn", "vgg16_bn", {{"width", "4"}}, large, false},
          // Its hidden layers have dropout.
          {"vgg11_bn", "vgg11_bn_imagenet", {{"width", "2"}, {"head", "imagenet"}}, {3, 224, 224}, false}};
}

class Memory : public ::testing::TestWithParam<ZooCase> {
 protected:
  static constexpr int kMicro = 6, kFactors = 3;
  Network network() const {
    auto made = Network::create(GetParam().name, GetParam().options, GetParam().input, 10);
    if (!made) throw std::runtime_error(made.error().message);
    return *made;
  }
  static ReplicaOptions options(bool checkpoint) {
    ReplicaOptions options;
    options.micro_batch = kMicro;
    options.checkpoint_activations = checkpoint;
    return options;
  }
};

TEST_P(Memory, IsWhatThePlanSays) {
  const Network made = network();
  const Weights weights = random_weights(made, 3);
  const Batch batch = random_batch(5, kMicro, made.input(), 10);
  for (const bool checkpoint : {false, true}) {
    Replica replica(made, options(checkpoint));
    replica.plan_factors(kFactors);
    const double planned = double(replica.bytes());
    replica.load(weights.parameters, weights.statistics);
    Recorder recorder(made);
    for (int pass = 0; pass < 2; ++pass) (void)replica.train(batch.micro(), kFactors, recorder);
    (void)replica.evaluate(batch.micro());
    const double held = double(replica.held_bytes());
    EXPECT_NEAR(planned, held, 0.05 * held) << "checkpoint_activations " << checkpoint;
    EXPECT_GT(replica.activation_bytes(), std::size_t(kMicro) * made.input().count() * sizeof(float));
    EXPECT_LT(double(replica.activation_bytes()), held);
  }
}

TEST_P(Memory, ActivationsMadeAgainHaveTheSameBits) {
  const Network made = network();
  const Weights weights = random_weights(made, 4);
  const Batch batch = random_batch(6, kMicro, made.input(), 10);
  Replica plain(made, options(false)), again(made, options(true));
  plain.load(weights.parameters, weights.statistics);
  again.load(weights.parameters, weights.statistics);
  for (const int factors : {kFactors, 0, kFactors}) {
    Recorder expected(made), got(made);
    expected.loss = plain.train(batch.micro(), factors, expected);
    got.loss = again.train(batch.micro(), factors, got);
    EXPECT_TRUE(got == expected) << factors;
    EXPECT_EQ(got.order, expected.order);
    EXPECT_EQ(plain.evaluate(batch.micro()).loss, again.evaluate(batch.micro()).loss);
  }
  if (GetParam().shrinks) {
    EXPECT_LT(again.activation_bytes(), plain.activation_bytes());
  } else {
    EXPECT_EQ(again.activation_bytes(), plain.activation_bytes());
  }
}

INSTANTIATE_TEST_SUITE_P(Zoo, Memory, ::testing::ValuesIn(zoo_cases()),
                         [](const auto& test) { return test.param.label; });

TEST(ActivationMemory, OfResnet18IsHalfWhereItIsMadeAgain) {
  const Network network = *Network::create("resnet18", {{"width", "16"}}, {3, 32, 32}, 10);
  ReplicaOptions options;
  options.micro_batch = 8;
  const Replica plain(network, options);
  options.checkpoint_activations = true;
  const Replica again(network, options);
  RecordProperty("plain", std::to_string(plain.activation_bytes()));
  RecordProperty("again", std::to_string(again.activation_bytes()));
  EXPECT_LT(2 * again.activation_bytes(), plain.activation_bytes());
}

}  // namespace
}  // namespace seng::reference
