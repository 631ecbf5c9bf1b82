// Training throughput of the zoo's networks on random images, one micro-batch per lane, and each layer's
// share of the time. engine_bench [lenet|resnet18] [micro-batch] [lanes] [seconds] [auto|direct]
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <string>
#include <vector>

#include "actors/engine/lanes.h"
#include "actors/engine/random.h"
#include "actors/nn/network.h"

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

// Adds gradients up as an actor's exchange would, so that their memory traffic is counted.
class AddingSink final : public seng::BackwardSink {
 public:
  explicit AddingSink(const seng::Network& network) : network_(network), sum_(network.parameter_count()) {}
  void on_factors(std::size_t, const seng::SampleFactors&) override {}
  void on_gradient(std::size_t block, std::span<const float> gradient, std::span<const float>) override {
    float* sum = sum_.data() + network_.blocks()[block].offset;
    for (std::size_t i = 0; i < gradient.size(); ++i) sum[i] += gradient[i];
  }

 private:
  const seng::Network& network_;
  std::vector<float> sum_;
};

struct Settings {
  std::string model = "lenet";
  int micro_batch = 32, lanes = 2;
  double seconds = 5;
  bool direct = false;
};

void report_layers(const std::vector<std::unique_ptr<seng::Replica>>& replicas, double images) {
  std::vector<seng::LayerTime> sum = replicas[0]->layer_times();
  for (std::size_t lane = 1; lane < replicas.size(); ++lane) {
    const auto times = replicas[lane]->layer_times();
    for (std::size_t i = 0; i < sum.size(); ++i) {
      sum[i].forward += times[i].forward;
      sum[i].backward += times[i].backward;
    }
  }
  double total = 0;
  for (const auto& layer : sum) total += layer.forward + layer.backward;
  std::printf("%-28s %12s %12s %7s\n", "layer", "forward us", "backward us", "share");
  for (const auto& layer : sum) {
    std::printf("%-28s %12.2f %12.2f %6.1f%%\n", layer.name.c_str(), layer.forward / images * 1e6,
                layer.backward / images * 1e6, (layer.forward + layer.backward) / total * 100);
  }
  std::printf("%-28s %25.2f us per image and lane\n", "all layers", total / images * 1e6);
}

int run(const Settings& settings) {
  const bool lenet = settings.model != "resnet18";
  const seng::ImageShape shape = lenet ? seng::ImageShape{1, 28, 28} : seng::ImageShape{3, 32, 32};
  const auto network = seng::Network::create(settings.model, {}, shape, 10);
  if (!network) {
    std::fprintf(stderr, "%s\n", network.error().message.c_str());
    return 2;
  }
  std::vector<float> parameters(network->parameter_count()), statistics(network->statistics_count());
  network->initialise(0, parameters, statistics);
  std::vector<float> images(settings.micro_batch * shape.count());
  seng::Random random(1, seng::RandomPurpose::kSynthetic);
  for (float& value : images) value = random.normal();
  std::vector<std::int32_t> labels(settings.micro_batch);
  for (auto& label : labels) label = static_cast<std::int32_t>(random.below(10));

  seng::Lanes lanes(settings.lanes);
  std::vector<std::unique_ptr<seng::Replica>> replicas;
  std::vector<AddingSink> sinks;
  for (int lane = 0; lane < settings.lanes; ++lane) {
    replicas.push_back(std::make_unique<seng::Replica>(
        *network,
        seng::ReplicaOptions{
            .micro_batch = settings.micro_batch, .direct_convolution = settings.direct, .profile = true}));
    sinks.emplace_back(*network);
  }
  const auto step = [&](std::size_t micros) {
    lanes.run(settings.lanes, [&](std::size_t lane, int) { replicas[lane]->load(parameters, statistics); });
    lanes.run(micros, [&](std::size_t, int lane) {
      replicas[lane]->train({settings.micro_batch, images.data(), labels.data(), 0, 0, 0}, 0, sinks[lane]);
    });
  };
  const std::size_t micros = std::max<std::size_t>(settings.lanes, (lenet ? 256 : 64) / settings.micro_batch);
  step(micros);
  const auto begin = Clock::now();
  std::size_t steps = 0;
  while (seconds_since(begin) < settings.seconds) {
    step(micros);
    ++steps;
  }
  const double elapsed = seconds_since(begin);
  const double count = double(steps) * micros * settings.micro_batch;
  report_layers(replicas, count + double(micros) * settings.micro_batch);
  std::printf("%s: %.1f images/s, micro-batch %d, %zu a step, %d lanes, %s convolution, %.1f MiB per lane\n",
              settings.model.c_str(), count / elapsed, settings.micro_batch, micros, settings.lanes,
              settings.direct ? "direct" : "auto", double(replicas[0]->bytes()) / (1 << 20));
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  Settings settings;
  if (argc > 1) settings.model = argv[1];
  if (argc > 2) settings.micro_batch = std::atoi(argv[2]);
  if (argc > 3) settings.lanes = std::atoi(argv[3]);
  if (argc > 4) settings.seconds = std::atof(argv[4]);
  if (argc > 5) settings.direct = std::strcmp(argv[5], "direct") == 0;
  return run(settings);
}
