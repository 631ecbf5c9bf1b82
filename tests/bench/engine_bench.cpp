// Training throughput of the zoo's networks on random images, one micro-batch per lane, and each layer's
// share of the time. engine_bench [lenet|resnet18] [micro-batch] [lanes] [seconds] [auto|direct]
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include <time.h>

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

// The quickest pass of each layer on lane 0: what the kernels take when nobody else uses the core.
class QuickestPass {
 public:
  void add(const std::vector<seng::LayerTime>& total) {
    if (best_.empty()) {
      best_ = total;
      last_ = total;
      for (auto& layer : best_) layer.forward = layer.backward = 1e9;
      return;
    }
    for (std::size_t i = 0; i < total.size(); ++i) {
      best_[i].forward = std::min(best_[i].forward, total[i].forward - last_[i].forward);
      best_[i].backward = std::min(best_[i].backward, total[i].backward - last_[i].backward);
    }
    last_ = total;
  }

  void print(double images) const {
    double total = 0;
    for (const auto& layer : best_) total += layer.forward + layer.backward;
    std::printf("%-28s %12s %12s %7s\n", "layer, quickest pass", "forward us", "backward us", "share");
    for (const auto& layer : best_) {
      std::printf("%-28s %12.2f %12.2f %6.1f%%\n", layer.name.c_str(), layer.forward / images * 1e6,
                  layer.backward / images * 1e6, (layer.forward + layer.backward) / total * 100);
    }
    std::printf("%-28s %25.2f us per image: %.0f images/s on one lane\n", "all layers", total / images * 1e6,
                images / total);
  }

 private:
  std::vector<seng::LayerTime> best_, last_;
};

double cpu_seconds() {
  timespec time{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
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
  QuickestPass quickest;
  const auto step = [&](std::size_t micros) {
    lanes.run(settings.lanes, [&](std::size_t lane, int) { replicas[lane]->load(parameters, statistics); });
    lanes.run(micros, [&](std::size_t, int lane) {
      replicas[lane]->train({settings.micro_batch, images.data(), labels.data(), 0, 0, 0}, 0, sinks[lane]);
      if (lane == 0) quickest.add(replicas[0]->layer_times());
    });
  };
  const std::size_t micros = std::max<std::size_t>(settings.lanes, (lenet ? 256 : 64) / settings.micro_batch);
  step(micros);
  const auto begin = Clock::now();
  const double cpu_begin = cpu_seconds();
  std::size_t steps = 0;
  while (seconds_since(begin) < settings.seconds) {
    step(micros);
    ++steps;
  }
  const double elapsed = seconds_since(begin);
  const double count = double(steps) * micros * settings.micro_batch;
  const double cpu = cpu_seconds() - cpu_begin;
  quickest.print(settings.micro_batch);
  std::printf(
      "%s: %.1f images/s (%.1f per second of processor time), micro-batch %d, %zu a step, %d lanes, %s "
      "convolution, %.1f MiB per lane\n",
      settings.model.c_str(), count / elapsed, count / cpu, settings.micro_batch, micros, settings.lanes,
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
