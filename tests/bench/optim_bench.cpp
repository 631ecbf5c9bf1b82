// Times SENG's part of a step on lenet's blocks (or, with "resnet18", on some of its): the ordinary step's
// directions, a refresh's fragments and its acceptance. Minimum of several rounds, as the machine may be
// shared.
//
//   optim_bench [lenet|resnet18] [samples] [lanes] [rounds] [f32|bf16]
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "actors/engine/lanes.h"
#include "actors/engine/random.h"
#include "actors/optim/curvature.h"
#include "actors/optim/form_choice.h"

namespace {

using namespace seng;

Block convolution(std::string name, int in, int out, int size_in, int kernel, int stride) {
  Block block;
  block.name = std::move(name);
  block.kind = BlockKind::kConvolution;
  const int size_out = (size_in + 2 * (kernel / 2) - kernel) / stride + 1;
  block.conv = {in, size_in, size_in, out, size_out, size_out, kernel, kernel, stride, kernel / 2};
  block.m = out;
  block.n = std::int64_t(in) * kernel * kernel;
  block.positions = std::int64_t(size_out) * size_out;
  block.count = std::size_t(block.m * block.n);
  return block;
}

Block linear(std::string name, int in, int out) {
  Block block;
  block.name = std::move(name);
  block.kind = BlockKind::kLinear;
  block.m = out;
  block.n = in;
  block.bias = true;
  block.count = std::size_t(out) * std::size_t(in) + std::size_t(out);
  return block;
}

Block batch_norm(std::string name, int channels, int size) {
  Block block;
  block.name = std::move(name);
  block.kind = BlockKind::kBatchNorm;
  block.m = channels;
  block.n = 1;
  block.positions = std::int64_t(size) * size;
  block.count = 2 * std::size_t(channels);
  return block;
}

std::vector<Block> blocks_of(const std::string& model) {
  if (model == "lenet") {
    return {convolution("conv1", 1, 32, 28, 3, 1),
            batch_norm("bn1", 32, 28),
            convolution("conv2", 32, 64, 14, 3, 1),
            batch_norm("bn2", 64, 14),
            linear("fc1", 3136, 128),
            linear("fc2", 128, 10)};
  }
  return {convolution("layer1", 64, 64, 32, 3, 1), convolution("layer2", 128, 128, 16, 3, 1),
          convolution("layer3", 256, 256, 8, 3, 1), convolution("layer4", 512, 512, 4, 3, 1)};
}

std::vector<float> normals(std::uint32_t stream, std::size_t count) {
  Random random(17, RandomPurpose::kSynthetic, stream);
  std::vector<float> values(count);
  for (float& value : values) value = random.normal();
  return values;
}

template <class F>
double milliseconds(F&& f) {
  const auto begin = std::chrono::steady_clock::now();
  f();
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
}

void time_block(const Block& block, int samples, Lanes& lanes, int rounds, Precision precision,
                double (&totals)[3]) {
  const int micro = 32, micros = std::max(1, samples / micro), per_micro = samples / micros;
  const Representation representation = choose_forms({block}, {}).value().front().representation;
  const FragmentShape shape = fragment_shape(block, representation, per_micro, precision);
  const std::size_t outputs = std::size_t(block.m * block.positions) * std::size_t(per_micro);
  const std::size_t inputs =
      block.kind == BlockKind::kBatchNorm
          ? outputs
          : sample_size(block, Representation::kImplicit).first * std::size_t(per_micro);
  const std::vector<float> a = normals(1, inputs), g = normals(2, outputs), mean = normals(3, block.count);
  std::vector<float> direction(block.count);
  Curvature curvature(block, {.micro_batches = micros,
                              .samples_per_micro = per_micro,
                              .form = representation,
                              .stored = precision,
                              .wire = precision});
  double fragments = 1e9, accept = 1e9, step = 1e9;
  for (int round = 0; round < rounds; ++round) {
    std::vector<std::vector<float>> made(static_cast<std::size_t>(micros));
    fragments = std::min(fragments, milliseconds([&] {
                           lanes.run(made.size(), [&](std::size_t i, int) {
                             made[i] = make_fragment(block, shape, {per_micro, a.data(), g.data()});
                           });
                         }));
    accept = std::min(accept, milliseconds([&] {
                        curvature.begin_refresh(std::uint64_t(round), 1.0);
                        for (std::size_t i = 0; i < made.size(); ++i)
                          (void)curvature.add_fragment(std::uint32_t(i), made[i]);
                        if (auto accepted = curvature.accept(lanes); !accepted)
                          std::printf("%s\n", accepted.error().message.c_str());
                      }));
    for (int k = 0; k < 3; ++k) {
      step = std::min(step, milliseconds([&] { curvature.precondition(mean, direction, 1.0, lanes); }));
    }
  }
  std::printf("%-8s %8zu  %s  fragments %8.3f ms  accept %8.3f ms  direction %8.3f ms  %7.1f MiB\n",
              block.name.c_str(), block.count,
              representation == Representation::kExplicit ? "explicit" : "implicit", fragments, accept, step,
              double(curvature.bytes()) / (1 << 20));
  totals[0] += fragments;
  totals[1] += accept;
  totals[2] += step;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string model = argc > 1 ? argv[1] : "lenet";
  const int samples = argc > 2 ? std::atoi(argv[2]) : 256, lanes_count = argc > 3 ? std::atoi(argv[3]) : 2;
  const int rounds = argc > 4 ? std::atoi(argv[4]) : 10;
  const std::string dtype = argc > 5 ? argv[5] : "f32";
  if ((dtype != "f32" && dtype != "bf16") || samples < 1 || lanes_count < 1 || rounds < 1 ||
      (model != "lenet" && model != "resnet18")) {
    std::fprintf(stderr, "usage: optim_bench [lenet|resnet18] [samples] [lanes] [rounds] [f32|bf16]\n");
    return 2;
  }
  seng::Lanes lanes(lanes_count);
  double totals[3] = {};
  const auto precision = dtype == "bf16" ? seng::Precision::kBf16 : seng::Precision::kF32;
  for (const seng::Block& block : blocks_of(model))
    time_block(block, samples, lanes, rounds, precision, totals);
  std::printf("total: fragments %.2f ms, accept %.2f ms, direction %.2f ms (%d samples, %d lanes)\n",
              totals[0], totals[1], totals[2], samples, lanes_count);
  return 0;
}
