// A replica that adds up: the bits are those of adding what it hands out for each micro-batch by itself.
#include <gtest/gtest.h>

#include "tests/actors/nn/recorder.h"
#include "tests/actors/nn/reference_network.h"

namespace seng::reference::gradient_sums_test {
namespace {

constexpr int kMicro = 4;

// Left and right of a node are added when its right is there: as halves, the left one the larger, or with
// the first half always of one.
struct Shape {
  const char* name;
  std::size_t (*left)(std::size_t leaves);
};
constexpr Shape kHalves{"halves", [](std::size_t leaves) { return (leaves + 1) / 2; }};
constexpr Shape kChain{"chain", [](std::size_t leaves) { return leaves - 1; }};

void append_order(const Shape& shape, std::size_t leaves, SumOrder& order) {
  if (leaves == 1) return order.push_back(0);
  append_order(shape, shape.left(leaves), order);
  append_order(shape, leaves - shape.left(leaves), order);
  ++order.back();
}

std::vector<float> sum_of(const Shape& shape, const std::vector<std::vector<float>>& leaves,
                          std::size_t first, std::size_t count) {
  if (count == 1) return leaves[first];
  const std::size_t left = shape.left(count);
  std::vector<float> sum = sum_of(shape, leaves, first, left);
  const std::vector<float> right = sum_of(shape, leaves, first + left, count - left);
  for (std::size_t i = 0; i < sum.size(); ++i) sum[i] = sum[i] + right[i];
  return sum;
}

class GradientSums : public ::testing::Test {
 protected:
  GradientSums() : network_(*Network::create("resnet18", {{"width", "4"}}, {3, 8, 8}, 10)) {
    weights_ = random_weights(network_, 3);
    for (int i = 0; i < 9; ++i) batches_.push_back(random_batch(20 + i, kMicro, network_.input(), 10));
  }
  Replica replica(int sums_held) const {
    ReplicaOptions options;
    options.micro_batch = kMicro;
    options.sums_held = sums_held;
    Replica made(network_, options);
    made.load(weights_.parameters, weights_.statistics);
    return made;
  }
  MicroBatch micro(std::size_t i) const {
    MicroBatch batch = batches_[i].micro();
    batch.loss_scale = 3;  // no power of two: divided before the addition or behind it is not the same
    return batch;
  }
  Recorder train(Replica& replica, std::size_t i) const {
    Recorder recorder(network_);
    recorder.loss = replica.train(micro(i), 2, recorder);
    return recorder;
  }

  const Network network_;
  Weights weights_;
  std::vector<Batch> batches_;
};

TEST_F(GradientSums, HaveTheBitsOfTheirMicroBatchesAddedInOrder) {
  Replica plain = replica(0), adding = replica(3);
  EXPECT_FALSE(plain.adds_up());
  EXPECT_TRUE(adding.adds_up());
  std::vector<Recorder> leaves;
  std::vector<std::vector<float>> gradients, statistics;
  for (std::size_t i = 0; i < batches_.size(); ++i) {
    leaves.push_back(train(plain, i));
    gradients.push_back(leaves.back().gradient);
    statistics.push_back(leaves.back().statistics);
  }
  for (const Shape& shape : {kHalves, kChain}) {
    for (std::size_t count = 1; count <= batches_.size(); ++count) {
      SCOPED_TRACE(std::string(shape.name) + " of " + std::to_string(count));
      SumOrder order;
      append_order(shape, count, order);
      adding.begin_sum(order);
      for (std::size_t i = 0; i < count; ++i) {
        const Recorder got = train(adding, i);
        EXPECT_EQ(got.loss.loss, leaves[i].loss.loss);
        EXPECT_EQ(got.activations, leaves[i].activations);
        EXPECT_EQ(got.gradients, leaves[i].gradients);
        EXPECT_EQ(got.factor_order, leaves[i].factor_order);
        if (i + 1 < count) {
          EXPECT_TRUE(got.order.empty());
          continue;
        }
        EXPECT_EQ(got.order, leaves[i].order);
        EXPECT_EQ(got.gradient, sum_of(shape, gradients, 0, count));
        EXPECT_EQ(got.statistics, sum_of(shape, statistics, 0, count));
      }
    }
  }
  EXPECT_NE(sum_of(kHalves, gradients, 0, 9), sum_of(kChain, gradients, 0, 9));  // order matters
}

TEST_F(GradientSums, OneThatWasLeftLeavesNoTrace) {
  Replica plain = replica(0), adding = replica(1);
  const Recorder first = train(plain, 0), second = train(plain, 1), third = train(plain, 2);
  adding.begin_sum({0, 1, 1});
  train(adding, 3);
  train(adding, 4);
  adding.begin_sum({0, 1});
  train(adding, 0);
  EXPECT_EQ(train(adding, 1).gradient, sum_of(kHalves, {first.gradient, second.gradient}, 0, 2));
  // Behind it, and without being told, each is a sum of its own.
  EXPECT_TRUE(train(adding, 2) == third);
  EXPECT_TRUE(train(adding, 0) == first);
}

TEST_F(GradientSums, OrdersThatDoNotComeOutAreErrors) {
  Replica plain = replica(0), adding = replica(2);
  EXPECT_THROW(plain.begin_sum({0, 1}), InvariantError);
  EXPECT_THROW(adding.begin_sum({}), InvariantError);
  adding.begin_sum({1});
  EXPECT_THROW(train(adding, 0), InvariantError) << "nothing to add to";
  adding.begin_sum({0, 0, 0, 1});
  train(adding, 0);
  train(adding, 1);
  EXPECT_THROW(train(adding, 2), InvariantError) << "three that wait";
  adding.begin_sum({0, 0});
  train(adding, 0);
  EXPECT_THROW(train(adding, 1), InvariantError) << "two at the end";
}

TEST_F(GradientSums, TakeTheMemoryThatThePlanSays) {
  const Replica plain = replica(0);
  std::size_t block = 0;  // the gradient that only `plain` has
  for (const Block& each : network_.blocks()) block = std::max(block, each.count * sizeof(float));
  const std::size_t vector = (network_.parameter_count() + network_.statistics_count()) * sizeof(float);
  for (const int held : {1, 2, 5}) {
    Replica adding = replica(held);
    const std::size_t planned = adding.bytes(), more = planned + block - plain.bytes();
    EXPECT_GE(more, (1 + held) * vector);
    EXPECT_LE(more, (1 + held) * vector * 5 / 4);  // blocks are small here, and each begins on a boundary
    adding.plan_factors(2);
    adding.begin_sum({0, 1});
    train(adding, 0);
    train(adding, 1);
    EXPECT_NEAR(double(adding.bytes()), double(adding.held_bytes()), 0.02 * double(planned));
  }
}

}  // namespace
}  // namespace seng::reference::gradient_sums_test
