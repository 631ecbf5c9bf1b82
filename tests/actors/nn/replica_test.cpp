// What a replica promises besides right numbers: equal bits, no allocation, evaluation, memory.
#include <cstdlib>
#include <new>
#include <thread>

#include <gtest/gtest.h>

#include "actors/engine/lanes.h"
#include "actors/nn/layers.h"
#include "tests/actors/nn/recorder.h"
#include "tests/actors/nn/reference_network.h"

// Counts the allocations of this program's own code. Shared libraries (oneDNN's small argument maps) come to
// the same operator new, but from outside of the program's text. Sanitizers bring an operator new of their
// own.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kCountsAllocations = false;
static std::size_t allocations = 0;
#else
constexpr bool kCountsAllocations = true;
extern "C" const char __executable_start, etext;
static thread_local std::size_t allocations = 0;
[[gnu::noinline]] void* operator new(std::size_t size) {
  const auto* caller = static_cast<const char*>(__builtin_return_address(0));
  if (caller >= &__executable_start && caller < &etext) ++allocations;
  if (void* memory = std::malloc(size == 0 ? 1 : size)) return memory;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* memory) noexcept {
  std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}
#endif

namespace seng::reference::replica_test {
namespace {

Network create(const std::string& name, const std::map<std::string, std::string>& options, ImageShape input) {
  return *Network::create(name, options, input, 10);
}

struct QuietSink final : BackwardSink {
  void on_factors(std::size_t, const SampleFactors& factors) override { samples += factors.samples; }
  void on_gradient(std::size_t, std::span<const float> gradient, std::span<const float>) override {
    sum += gradient[0];
  }
  int samples = 0;
  float sum = 0;
};

TEST(ReplicaBits, EqualOnEveryLaneAndEveryTime) {
  for (const std::string name : {"lenet", "resnet18"}) {
    const ImageShape input = name == "lenet" ? ImageShape{1, 28, 28} : ImageShape{3, 16, 16};
    std::map<std::string, std::string> zoo_options;
    if (name == "resnet18") zoo_options["width"] = "16";
    const Network network = create(name, zoo_options, input);
    const Weights weights = random_weights(network, 2);
    constexpr int kMicros = 6;
    ReplicaOptions options;
    options.micro_batch = 8;
    std::vector<Batch> batches;
    for (int i = 0; i < kMicros; ++i) batches.push_back(random_batch(100 + i, 8, input, 10));
    const auto run = [&](int lane_count) {
      Lanes lanes(lane_count);
      std::vector<std::unique_ptr<Replica>> replicas;
      for (int i = 0; i < lane_count; ++i) {
        replicas.push_back(std::make_unique<Replica>(network, options));
        replicas.back()->load(weights.parameters, weights.statistics);
      }
      std::vector<Recorder> results(kMicros, Recorder(network));
      lanes.run(kMicros, [&](std::size_t i, int lane) {
        results[i].loss = replicas[lane]->train(batches[i].micro(), 4, results[i]);
      });
      return results;
    };
    const auto alone = run(1);
    EXPECT_TRUE(alone == run(1)) << name;
    EXPECT_TRUE(alone == run(2)) << name;
    EXPECT_TRUE(alone == run(3)) << name;
    EXPECT_FALSE(alone[0] == alone[1]);
  }
}

// Without the backward pass the same loss comes, and it leaves no trace.
TEST(ReplicaBits, TheTrainingLossAloneIsThatOfTraining) {
  const ImageShape input{1, 28, 28};
  const std::vector<LayerSpec> layers = {{"conv", "conv2d", {}, {{"channels", "4"}}},
                                         {"bn", "batch_norm", {}, {}},
                                         {"flat", "flatten", {}, {}},
                                         {"drop", "dropout", {}, {{"probability", "0.3"}}},
                                         {"fc", "linear", {}, {{"features", "10"}}}};
  const Network network = *Network::create(layers, input, 10);
  const Weights weights = random_weights(network, 3);
  ReplicaOptions options;
  options.micro_batch = 8;
  options.label_smoothing = 0.1;
  Replica replica(network, options), other(network, options);
  for (Replica* each : {&replica, &other}) each->load(weights.parameters, weights.statistics);
  const Batch first = random_batch(5, 8, input, 10), second = random_batch(6, 8, input, 10);
  MicroBatch micro = first.micro();
  micro.seed = 7;
  micro.step = 4;
  Recorder alone(network), behind(network);
  alone.loss = other.train(micro, 4, alone);
  const LossSum loss = replica.training_loss(micro);
  EXPECT_EQ(loss.loss, alone.loss.loss);
  EXPECT_EQ(loss.hits, alone.loss.hits);
  replica.training_loss(second.micro());
  behind.loss = replica.train(micro, 4, behind);
  EXPECT_TRUE(alone == behind);
}

TEST(ReplicaBits, DoNotDependOnWhatRanBefore) {
  const Network network = create("lenet", {}, {1, 28, 28});
  const Weights weights = random_weights(network, 2), others = random_weights(network, 3);
  const Batch batch = random_batch(1, 8, network.input(), 10),
              other = random_batch(2, 8, network.input(), 10);
  ReplicaOptions options;
  options.micro_batch = 8;
  const Recorder fresh = train_once(network, options, weights, batch, 5);
  Replica replica(network, options);
  replica.load(others.parameters, others.statistics);
  Recorder ignored(network), again(network);
  replica.train(other.micro(), 8, ignored);
  replica.evaluate(other.micro());
  replica.load(weights.parameters, weights.statistics);
  again.loss = replica.train(batch.micro(), 5, again);
  EXPECT_TRUE(fresh == again);
}

// Odd channel counts live in padded layouts; what an arena's earlier tenant left in the padding must not
// matter.
TEST(ReplicaBits, PaddedLayoutsInReusedMemory) {
  ReferenceNetwork reference({3, 9, 9}, 7);
  reference.conv("a", {17, 3, 3, 1, 1, true});
  reference.batch_norm("n");
  reference.relu();
  const int b = reference.conv("b", {21, 3, 3, 1, 1, true});
  reference.relu();
  const int c = reference.conv("c", {21, 3, 3, 1, 1, true});
  reference.add(c, b);
  reference.relu();
  reference.max_pool(2, 2, 0);
  reference.conv("d", {35, 3, 3, 1, 1, false});
  reference.flatten();
  reference.linear("fc", 7);
  const Network network = reference.network();
  const Weights weights = random_weights(network, 2);
  const Batch batch = random_batch(1, 4, network.input(), 7), other = random_batch(2, 4, network.input(), 7);
  ReplicaOptions options;
  options.micro_batch = 4;
  const Recorder fresh = train_once(network, options, weights, batch, 2);
  Replica replica(network, options);
  replica.load(weights.parameters, weights.statistics);
  for (int pass = 0; pass < 3; ++pass) {
    Recorder ignored(network), again(network);
    replica.train(other.micro(), 2, ignored);
    replica.evaluate(other.micro());
    again.loss = replica.train(batch.micro(), 2, again);
    EXPECT_TRUE(fresh == again) << pass;
  }
}

TEST(ReplicaMemory, NothingIsAllocatedAfterTheFirstStep) {
  if (!kCountsAllocations) GTEST_SKIP() << "a sanitizer owns operator new";
  const Network network = create("lenet", {}, {1, 28, 28});
  const Weights weights = random_weights(network, 2);
  const Batch batch = random_batch(1, 8, network.input(), 10);
  ReplicaOptions options;
  options.micro_batch = 8;
  Replica replica(network, options);
  QuietSink sink;
  const auto step = [&] {
    replica.load(weights.parameters, weights.statistics);
    replica.train(batch.micro(), 4, sink);
    replica.evaluate(batch.micro());
  };
  step();
  const std::size_t bytes = replica.bytes(), before = allocations;
  step();
  step();
  EXPECT_EQ(allocations, before);
  EXPECT_EQ(replica.bytes(), bytes);
  EXPECT_GT(sink.samples, 0);
  ::operator delete(::operator new(8));
  EXPECT_GT(allocations, before) << "the counter counts";
}

TEST(ReplicaMemory, EvaluationNeedsLess) {
  const Network network = create("resnet18", {{"width", "16"}}, {3, 32, 32});
  ReplicaOptions options;
  options.micro_batch = 16;
  const std::size_t training = Replica(network, options).bytes();
  options.training = false;
  const std::size_t evaluating = Replica(network, options).bytes();
  EXPECT_LT(evaluating * 2, training);
}

TEST(Evaluate, AnyNumberOfSamplesGivesTheSameSums) {
  const Network network = create("lenet", {}, {1, 28, 28});
  const Weights weights = random_weights(network, 2);
  const Batch batch = random_batch(1, 11, network.input(), 10);
  ReplicaOptions options;
  options.micro_batch = 8;
  options.training = false;
  Replica replica(network, options);
  replica.load(weights.parameters, weights.statistics);
  std::vector<float> logits(11 * 10);
  LossSum sum;
  for (const auto& [first, count] : {std::pair{0, 8}, {8, 3}}) {
    MicroBatch part = batch.micro();
    part.samples = count;
    part.images += first * network.input().count();
    part.labels += first;
    const LossSum loss = replica.evaluate(part);
    sum.loss += loss.loss;
    sum.hits += loss.hits;
    replica.logits(part, std::span(logits).subspan(first * 10, count * 10));
  }
  options.micro_batch = 11;
  Replica whole(network, options);
  whole.load(weights.parameters, weights.statistics);
  std::vector<float> expected(11 * 10);
  whole.logits(batch.micro(), expected);
  const LossSum loss = whole.evaluate(batch.micro());
  EXPECT_NEAR(sum.loss, loss.loss, 1e-4 * loss.loss);
  EXPECT_EQ(sum.hits, loss.hits);
  EXPECT_LT(relative_error(widened(logits), widened(expected)), 1e-4);
}

TEST(Evaluate, TrainingReplicaAgreesWithEvaluatingOne) {
  const Network network = create("resnet18", {{"width", "16"}}, {3, 16, 16});
  const Weights weights = random_weights(network, 2);
  const Batch batch = random_batch(1, 8, network.input(), 10);
  std::vector<std::vector<float>> logits;
  for (const bool training : {true, false}) {
    ReplicaOptions options;
    options.micro_batch = 8;
    options.training = training;
    Replica replica(network, options);
    replica.load(weights.parameters, weights.statistics);
    replica.logits(batch.micro(), logits.emplace_back(80));
  }
  EXPECT_EQ(logits[0], logits[1]);
}

TEST(Misuse, IsCaught) {
  const Network network = create("mlp", {}, {1, 4, 4});
  const Weights weights = random_weights(network, 2);
  Batch batch = random_batch(1, 8, network.input(), 10);
  ReplicaOptions options;
  options.micro_batch = 8;
  Replica replica(network, options);
  QuietSink sink;
  EXPECT_THROW(replica.train(batch.micro(), 0, sink), InvariantError) << "before load()";
  replica.load(weights.parameters, weights.statistics);
  MicroBatch part = batch.micro();
  part.samples = 7;
  EXPECT_THROW(replica.train(part, 0, sink), InvariantError);
  EXPECT_THROW(replica.train(batch.micro(), 9, sink), InvariantError);
  EXPECT_NO_THROW(replica.evaluate(part));
  part.samples = 9;
  EXPECT_THROW(replica.evaluate(part), InvariantError);
  batch.labels[3] = 10;
  EXPECT_THROW(replica.train(batch.micro(), 0, sink), InvariantError);
  EXPECT_THROW(replica.load(std::span(weights.parameters).first(5), weights.statistics), InvariantError);
  options.device = Device::kCuda;
  EXPECT_THROW(Replica(network, options), VendorError);
}

TEST(Profile, TimesEveryLayer) {
  const Network network = create("lenet", {}, {1, 28, 28});
  ReplicaOptions options;
  options.micro_batch = 8;
  options.profile = true;
  Replica replica(network, options);
  const Weights weights = random_weights(network, 2);
  replica.load(weights.parameters, weights.statistics);
  QuietSink sink;
  replica.train(random_batch(1, 8, network.input(), 10).micro(), 0, sink);
  const auto times = replica.layer_times();
  ASSERT_FALSE(times.empty());
  EXPECT_EQ(times[0].name, "conv1");
  EXPECT_GT(times[0].forward, 0);
  EXPECT_GT(times[0].backward, 0);
}

}  // namespace
}  // namespace seng::reference::replica_test
