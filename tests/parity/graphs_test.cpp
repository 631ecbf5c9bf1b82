// Passes that are recorded: a graph's replay gives what the calls give, bit for bit, whatever a micro-batch
// brings; the host then queues the graph and waits for nothing; and what cannot be captured is called. On the
// emulated GPU, which refuses in a capture what CUDA does.
#include <cstdlib>

#include "tests/actors/nn/recorder.h"
#include "tests/parity/emulated_count.h"
#include "tests/parity/machine.h"
#include "tests/parity/require_cuda.h"

namespace seng::testing::graphs_test {
namespace {

using reference::Recorder;
using reference::Weights;
using ::testing::Test;

constexpr int kSamples = 2, kClasses = 10;

struct Case {
  std::string name;
  Network network;
  bool mixed = false;
  Arithmetic precision = Arithmetic::kF32;
};

Network made(Result<Network> network) {
  SENG_CHECK(network.has_value(), "a network of the test");
  return *network;
}

// A residual network with all that a pass is made of: both layouts, dropout, a value with two users.
std::vector<LayerSpec> layers() {
  return {{"conv1", "conv2d", {}, {{"channels", "4"}, {"kernel", "5"}, {"padding", "2"}}},
          {"bn1", "batch_norm", {}, {}},
          {"a", "relu", {}, {}},
          {"conv2", "conv2d", {"a"}, {{"channels", "4"}, {"kernel", "3"}, {"padding", "1"}}},
          {"bn2", "batch_norm", {}, {}},
          {"sum", "add", {"a", "bn2"}, {}},
          {"relu", "relu", {}, {}},
          {"pool", "max_pool", {}, {{"kernel", "2"}, {"stride", "2"}}},
          {"flat", "flatten", {}, {}},
          {"drop", "dropout", {}, {{"probability", "0.4"}}},
          {"fc", "linear", {}, {{"features", "10"}}}};
}

const ImageShape kImage{3, 8, 8};

Network residual() {
  return made(Network::create(layers(), kImage, kClasses));
}

std::vector<Case> cases() {
  return {{"mlp", made(Network::create("mlp", {{"hidden", "12"}}, kImage, kClasses))},
          {"residual", residual()},
          {"mixtures", residual(), true},
          {"bf16", residual(), true, Arithmetic::kBf16},
          {"f16", residual(), false, Arithmetic::kF16}};
}

// Micro-batches that differ in all that one may differ in.
struct Batches {
  Batches(bool mixed, Arithmetic precision) {
    Random random(7, RandomPurpose::kSynthetic);
    for (int i = 0; i < 4; ++i) {
      images.push_back(normal(random, kSamples * kImage.count()));
      labels.emplace_back();
      partners.emplace_back();
      weights.emplace_back();
      for (int sample = 0; sample < kSamples; ++sample) {
        labels.back().push_back(static_cast<std::int32_t>(random.below(kClasses)));
        partners.back().push_back(static_cast<std::int32_t>(random.below(kClasses)));
        weights.back().push_back(random.uniform());
      }
    }
    for (int i = 0; i < 4; ++i) {
      MicroBatch batch{kSamples, images[i].data(),     labels[i].data(),
                       5,        std::uint64_t(i / 2), static_cast<std::uint32_t>(i * kSamples)};
      if (mixed && i % 2 == 0) batch.partners = partners[i].data(), batch.weights = weights[i].data();
      if (precision == Arithmetic::kF16) batch.loss_scale = i < 2 ? 256.0f : 64.0f;
      all.push_back(batch);
    }
  }
  std::vector<Values> images, weights;
  std::vector<std::vector<std::int32_t>> labels, partners;
  std::vector<MicroBatch> all;
};

// With room for sums the whole pass is recorded, without them what comes before the backward pass.
ReplicaOptions options_of(Arithmetic precision, int sums_held) {
  ReplicaOptions options;
  options.device = Device::kCuda;
  options.precision = precision;
  options.micro_batch = kSamples;
  options.label_smoothing = 0.1;
  options.sums_held = sums_held;
  return options;
}

// All that a job asks of a replica, over two steps with other weights; a refresh in the second.
struct Outcome {
  std::vector<Recorder> recorders;
  std::vector<LossSum> losses;
  Values logits = Values(kSamples * kClasses);
  std::string shortfall;

  bool operator==(const Outcome& other) const {
    const auto same = [](const LossSum& a, const LossSum& b) { return a.loss == b.loss && a.hits == b.hits; };
    return recorders == other.recorders && std::ranges::equal(losses, other.losses, same) &&
           logits == other.logits;
  }
};
Outcome run(const Network& network, const ReplicaOptions& options, const std::vector<MicroBatch>& batches) {
  Replica replica(network, options);
  Outcome out;
  for (int step = 0; step < 2; ++step) {
    const Weights weights = reference::random_weights(network, 11 + step);
    replica.load(weights.parameters, weights.statistics);
    if (replica.adds_up()) replica.begin_sum({0, 1, 0, 2});
    for (const MicroBatch& batch : batches) {
      out.losses.push_back(replica.training_loss(batch));
      out.recorders.emplace_back(network);
      out.recorders.back().loss = replica.train(batch, step == 1 ? 2 : 0, out.recorders.back());
    }
    for (MicroBatch batch : batches) {
      batch.samples = kSamples - step;
      batch.partners = nullptr;
      out.losses.push_back(replica.evaluate(batch));
    }
  }
  replica.logits(batches[0], out.logits);
  out.shortfall = replica.graph_shortfall();
  return out;
}

class Graphs : public Test {
 protected:
  ~Graphs() override { unsetenv("SENG_EMULATED_CAPTURE_REFUSES"); }
};

void compare_bits(int sums_held) {
  for (const Case& c : cases()) {
    const Batches batches(c.mixed, c.precision);
    ReplicaOptions options = options_of(c.precision, sums_held);
    const std::uint64_t before = emulated() ? emulated_count("graphs") : 0;
    const Outcome graphs = run(c.network, options, batches.all);
    if (emulated()) {
      EXPECT_GT(emulated_count("graphs"), before + 20) << c.name;
    }
    EXPECT_EQ(graphs.shortfall, "") << c.name;
    options.graphs = false;
    EXPECT_TRUE(run(c.network, options, batches.all) == graphs) << c.name;
    if (!c.mixed) continue;
    options.profile = options.graphs = options.checkpoint_activations = true;
    EXPECT_TRUE(run(c.network, options, batches.all) == graphs) << c.name;
    options.profile = false;
    EXPECT_TRUE(run(c.network, options, batches.all) == graphs) << c.name;
    // Else the comparisons would say nothing of what a graph might have kept from the first micro-batch.
    for (std::size_t i = 1; i < 4; ++i)
      EXPECT_NE(graphs.recorders[i].loss.loss, graphs.recorders[0].loss.loss) << c.name << i;
  }
}

TEST_F(Graphs, GiveTheBitsOfTheCalls) {
  if (!emulated()) SENG_REQUIRE_CUDA(Arithmetic::kF32);
  compare_bits(0);
}

TEST_F(Graphs, OfWholePassesToo) {
  if (!emulated()) SENG_REQUIRE_CUDA(Arithmetic::kF32);
  compare_bits(2);
}

TEST_F(Graphs, RefusedOnesAreCallsAndSaySo) {
  if (!emulated()) GTEST_SKIP() << "only the emulated GPU refuses";
  const Network network = residual();
  const Batches batches(true, Arithmetic::kF32);
  const Outcome graphs = run(network, options_of(Arithmetic::kF32, 2), batches.all);
  for (const auto& [what, words] : {std::pair{"cudnn", "cuDNN: CUDNN_STATUS_EXECUTION_FAILED"},
                                    {"kernel", "operation not permitted when stream is capturing"},
                                    {"begin", "operation not permitted when stream is capturing"},
                                    {"instantiate", "out of memory"},
                                    {"upload", "out of memory"}}) {
    setenv("SENG_EMULATED_CAPTURE_REFUSES", what, 1);
    const std::uint64_t before = emulated_count("graphs");
    const Outcome calls = run(network, options_of(Arithmetic::kF32, 2), batches.all);
    EXPECT_TRUE(calls == graphs) << what;
    EXPECT_NE(calls.shortfall.find(words), std::string::npos) << calls.shortfall;
    EXPECT_EQ(emulated_count("graphs"), before) << what;
  }
}

// One graph, four copies with the streams' waits for one another, one wait of the host, for the loss; a whole
// pass has its place in the sum besides.
TEST_F(Graphs, AReplayedPassIsAFewCallsAndOneWait) {
  if (!emulated()) GTEST_SKIP() << "only the emulated GPU counts";
  const Network network = residual();
  const Batches batches(false, Arithmetic::kF32);
  Replica replica(network, options_of(Arithmetic::kF32, 2));
  const Weights weights = reference::random_weights(network, 3);
  replica.load(weights.parameters, weights.statistics);
  const std::function<void(int)> passes[] = {
      [&](int i) { replica.training_loss(batches.all[i]); },
      [&](int i) { replica.evaluate(batches.all[i]); },
      [&](int i) {
        Recorder recorder(network);
        if (i % 4 == 0) replica.begin_sum({0, 1, 0, 2});
        replica.train(batches.all[i], 0, recorder);
      },
  };
  for (const auto& pass : passes) {
    const bool trains = &pass == &passes[2];
    for (int i = 0; i < 4; ++i) pass(i);
    pass(0);
    std::map<std::string, std::uint64_t> before;
    for (const char* what : {"allocations", "captures", "graphs", "calls", "waits", "copies_to_host"})
      before[what] = emulated_count(what);
    pass(1);
    const auto since = [&](const char* what) { return emulated_count(what) - before[what]; };
    EXPECT_EQ(since("allocations"), 0u);
    EXPECT_EQ(since("captures"), 0u);
    EXPECT_EQ(since("graphs"), 1u);
    EXPECT_EQ(since("calls"), 9u + trains);  // the addition
    EXPECT_EQ(since("waits"), 1u);
    EXPECT_EQ(since("copies_to_host"), 1u);  // losses and hits
  }
}

// The next micro-batch is read into the same host memory while the device is at the one before.
TEST_F(Graphs, TakeWhatIsSentAhead) {
  if (!emulated()) SENG_REQUIRE_CUDA(Arithmetic::kF32);
  const Network network = residual();
  const Batches batches(true, Arithmetic::kF32);
  const Weights weights = reference::random_weights(network, 3);
  const auto sum_of = [&](bool ahead) {
    Replica replica(network, options_of(Arithmetic::kF32, 2));
    replica.load(weights.parameters, weights.statistics);
    Values images = batches.images[0];
    const auto at = [&](std::size_t i) {
      MicroBatch batch = batches.all[i];
      images = batches.images[i];
      batch.images = images.data();
      return batch;
    };
    Recorder recorder(network);
    for (int round = 0; round < 3; ++round) {
      replica.begin_sum({0, 1, 0, 2});
      std::optional<MicroBatch> next;
      for (std::size_t i = 0; i < 4; ++i) {
        const std::uint64_t waits = emulated() ? emulated_count("waits") : 0;
        const MicroBatch batch = next ? *next : at(i);
        next.reset();
        const LossSum loss = replica.train(batch, 0, recorder, [&] {
          if (emulated() && round == 2) {
            EXPECT_EQ(emulated_count("waits"), waits);
          }
          if (!ahead || i == 3) return;
          next = at(i + 1);
          replica.send_ahead(*next);
        });
        recorder.loss.loss += loss.loss;
        if (round == 1 && i == 1)
          recorder.loss.loss += replica.evaluate(at(3)).loss;  // what was sent is lost
        if (round == 1 && i == 1 && next) next = at(2);
      }
    }
    return recorder;
  };
  EXPECT_TRUE(sum_of(true) == sum_of(false));
  // One that is given up while something is on its way.
  Replica left(network, options_of(Arithmetic::kF32, 2));
  left.load(weights.parameters, weights.statistics);
  left.send_ahead(batches.all[0]);
}

// A graph has the scratch space's address in it.
TEST_F(Graphs, AreMadeAnewWhenScratchSpaceHasMoved) {
  if (!emulated()) SENG_REQUIRE_CUDA(Arithmetic::kF32);
  Machine m(*make_backend(Device::kCuda));
  const auto norm_of = [&](int channels) {
    BatchNormPlan plan;
    plan.layout = m.convolutional({2, channels, 4, 4});
    return std::pair{plan.layout, m.backend().plan_batch_norm(plan)};
  };
  const auto [layout, norm] = norm_of(8);
  float *x = m.room(layout), *y = m.room(layout), *mean = m.room(std::size_t{8}),
        *variance = m.room(std::size_t{8});
  const Values ones(8, 1);
  float *gamma = m.put(ones), *beta = m.put(ones);
  auto* workspace = m.room(norm->workspace_bytes() / sizeof(float));
  Random random(3, RandomPurpose::kSynthetic);
  const auto feed = m.backend().plan_feed(x, layout->bytes());
  const auto recording =
      m.backend().record([&, n = norm.get()] { n->forward(x, gamma, beta, mean, variance, workspace, y); });
  const auto next = [&] {
    const Values values = normal(random, layout->shape().count());
    feed->put(values.data(), layout->bytes());
    feed->take();
    recording->run();
    const Values replayed = m.get(y, layout);
    norm->forward(x, gamma, beta, mean, variance, workspace, y);
    EXPECT_EQ(replayed, m.get(y, layout));
  };
  for (int i = 0; i < 3; ++i) next();
  const std::uint64_t before = emulated() ? emulated_count("captures") : 0;
  const auto larger = norm_of(4096);
  next();
  next();
  if (emulated()) {
    EXPECT_EQ(emulated_count("captures"), before + 1);
  }
}

// As CUDA has it: what waits or allocates cannot be captured. Its recording makes the calls, and says why.
TEST_F(Graphs, WhatWaitsOrAllocatesIsCalledEachTime) {
  if (!emulated()) SENG_REQUIRE_CUDA(Arithmetic::kF32);
  Machine m(*make_backend(Device::kCuda));
  float* memory = m.put(Values(10, 3));
  int calls = 0;
  const auto views = m.backend().record([&] {
    ++calls;
    m.backend().host_view(memory, 10, 0);
  });
  const auto allocates = m.backend().record([&] { m.backend().allocate(std::size_t{64} << 20); });
  for (int i = 0; i < 4; ++i) {
    views->run();
    allocates->run();
  }
  EXPECT_EQ(calls, 7) << "once more in each of three captures";
  for (const auto* recording : {views.get(), allocates.get()})
    EXPECT_NE(recording->shortfall().find("not permitted when stream is capturing"), std::string::npos)
        << recording->shortfall();
  EXPECT_EQ(m.get(memory, 10), Values(10, 3));
}

// What is put while a pass reads the memory does not reach it.
TEST_F(Graphs, AFeedKeepsWhatIsPutUntilItIsTaken) {
  for (const Device device : {Device::kCpu, Device::kCuda}) {
    if (device == Device::kCuda) SENG_REQUIRE_CUDA(Arithmetic::kF32);
    Machine m(*make_backend(device));
    float* memory = m.room(std::size_t{100});
    float* copy = m.room(std::size_t{100});
    const auto feed = m.backend().plan_feed(memory, 100 * sizeof(float));
    const LayoutPtr plain = m.backend().plain({1, 100});
    const auto add = m.backend().plan_add(plain, false);
    Values host(100);
    for (int i = 0; i < 5; ++i) {
      std::fill(host.begin(), host.end(), static_cast<float>(i + 1));
      feed->put(host.data(), host.size() * sizeof(float));
      std::fill(host.begin(), host.end(), -1.0f);
      EXPECT_EQ(m.get(copy, 100), Values(100, 2.0f * static_cast<float>(i)));
      feed->take();
      add->run(memory, memory, copy);
    }
    EXPECT_EQ(m.get(copy, 100), Values(100, 10.0f));
    // A second one waits until the first has arrived, which must not come before the last one was taken.
    std::fill(host.begin(), host.end(), 6.0f);
    feed->put(host.data(), host.size() * sizeof(float));
    feed->take();
    add->run(memory, memory, copy);
    if (device == Device::kCpu) continue;  // has been read by now
    for (const float value : {7.0f, 8.0f}) {
      std::fill(host.begin(), host.end(), value);
      feed->put(host.data(), host.size() * sizeof(float));
    }
    EXPECT_EQ(m.get(copy, 100), Values(100, 12.0f));
    feed->take();
    EXPECT_EQ(m.get(memory, 100), Values(100, 8.0f));
  }
}

}  // namespace
}  // namespace seng::testing::graphs_test
