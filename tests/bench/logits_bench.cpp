// Writes a network with random weights and statistics as a checkpoint's model file, random images, and the
// logits that the engine gives for them: scripts/bench/pytorch_logits.py compares those with PyTorch's.
//   logits_bench DIRECTORY lenet|resnet18
#include <cstdio>
#include <fstream>
#include <iostream>
#include <vector>

#include "actors/checkpoint/checkpoint.h"
#include "actors/engine/random.h"
#include "actors/nn/network.h"

namespace {

void write_floats(const std::string& path, const std::vector<float>& values) {
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(values.data()), static_cast<std::streamsize>(values.size() * 4));
}

}  // namespace

int main(int argc, char** argv) {
  using namespace seng;
  if (argc != 3) {
    std::cerr << "usage: logits_bench DIRECTORY lenet|resnet18\n";
    return 2;
  }
  const std::string directory = argv[1], name = argv[2];
  const ImageShape shape = name == "lenet" ? ImageShape{1, 28, 28} : ImageShape{3, 32, 32};
  const auto network = Network::create(name, {}, shape, 10);
  if (!network) {
    std::cerr << network.error().message << "\n";
    return 1;
  }
  constexpr int kSamples = 16;
  std::vector<float> parameters(network->parameter_count()), statistics(network->statistics_count());
  network->initialise(1, parameters, statistics);
  Random random(2, RandomPurpose::kSynthetic);
  // Statistics away from 0 and 1, variances positive; images of the usual spread.
  for (const Block& block : network->blocks())
    for (std::size_t i = 0; i < block.statistics_count; ++i)
      statistics[block.statistics_offset + i] =
          i < block.statistics_count / 2 ? 0.1f * random.normal() : 0.5f + random.uniform();
  std::vector<float> images(kSamples * shape.count()), logits(kSamples * 10);
  for (float& value : images) value = random.normal();
  const std::vector<std::int32_t> labels(kSamples, 0);

  Replica replica(*network, {.micro_batch = kSamples});
  replica.load(parameters, statistics);
  MicroBatch batch;
  batch.samples = kSamples;
  batch.images = images.data();
  batch.labels = labels.data();
  replica.logits(batch, logits);

  const std::vector<float> momentum(parameters.size());
  const auto written = write_model(directory, network->blocks(), parameters, statistics, momentum, 1);
  if (!written) {
    std::cerr << written.error().message << "\n";
    return 1;
  }
  write_floats(directory + "/images.f32", images);
  write_floats(directory + "/logits.f32", logits);
  return 0;
}
