// What leaves the GPU: of a replica that adds up, all gradients in one copy for the micro-batches of a sum.
// Counted on the emulated GPU.
#include "tests/actors/nn/recorder.h"
#include "tests/parity/emulated_count.h"
#include "tests/parity/machine.h"
#include "tests/parity/require_cuda.h"

namespace seng::testing::copies_test {
namespace {

using reference::Recorder;

std::uint64_t copies_to_host() {
  return emulated_count("copies_to_host");
}

TEST(Copies, OfGradientsAreOnePerSum) {
  if (!emulated()) GTEST_SKIP() << "only the emulated GPU counts";
  const auto network = Network::create("resnet18", {{"width", "2"}}, {3, 8, 8}, 10);
  ASSERT_TRUE(network) << network.error().message;
  const auto weights = reference::random_weights(*network, 5);
  const Values images(2 * 3 * 8 * 8, 0.5f);
  const std::int32_t labels[] = {1, 2};
  const MicroBatch batch{2, images.data(), labels, 1, 1, 0};
  ReplicaOptions options;
  options.device = Device::kCuda;
  options.micro_batch = 2;
  options.sums_held = 2;
  Replica replica(*network, options);
  replica.load(weights.parameters, weights.statistics);
  const auto copies_of = [&](const std::function<void()>& work) {
    const std::uint64_t before = copies_to_host();
    work();
    return copies_to_host() - before;
  };
  const std::uint64_t of_loss = copies_of([&] { replica.training_loss(batch); });
  for (const SumOrder& order : {SumOrder{0}, SumOrder{0, 1}, SumOrder{0, 1, 1, 0, 2}}) {
    Recorder recorder(*network);
    const std::uint64_t copies = copies_of([&] {
      replica.begin_sum(order);
      for (std::size_t i = 0; i < order.size(); ++i) replica.train(batch, 0, recorder);
    });
    EXPECT_EQ(copies, order.size() * of_loss + 1) << order.size();
    EXPECT_EQ(recorder.order.size(), network->blocks().size());
  }
}

// By way of the area that uploads take as it is, with other weights each time.
TEST(Copies, OfWeightsComeToTheSameByEitherWay) {
  SENG_REQUIRE_CUDA(Arithmetic::kF32);
  const auto network = Network::create("resnet18", {{"width", "2"}}, {3, 8, 8}, 10);
  ASSERT_TRUE(network) << network.error().message;
  const Values images(2 * 3 * 8 * 8, 0.5f);
  const std::int32_t labels[] = {1, 2};
  const MicroBatch batch{2, images.data(), labels, 1, 1, 0};
  ReplicaOptions options;
  options.device = Device::kCuda;
  options.micro_batch = 2;
  Replica one(*network, options), other(*network, options);
  std::size_t copied = 0;
  for (const std::uint64_t seed : {5, 6, 7}) {
    const auto weights = reference::random_weights(*network, seed);
    one.load(weights.parameters, weights.statistics);
    other.load(weights.parameters, weights.statistics, [&](std::span<const float> from, float* to) {
      std::ranges::copy(from, to);
      copied += from.size();
    });
    EXPECT_EQ(one.training_loss(batch).loss, other.training_loss(batch).loss) << seed;
  }
  EXPECT_EQ(copied, 3 * network->parameter_count());
}

}  // namespace
}  // namespace seng::testing::copies_test
