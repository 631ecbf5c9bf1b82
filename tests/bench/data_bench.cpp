// Images per second that one thread reads from a folder of pictures, as a lane does: decoded, augmented,
// normalised, in micro-batches of 32. scripts/bench/data.py puts torchvision's loader beside it.
//   data_bench DIRECTORY SIZE RESIZE resized_crop|centre|pad_crop CACHE(off|DIR) SECONDS
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "actors/data/augment.h"

namespace {

using namespace seng;
constexpr int kMicroBatch = 32;

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

[[noreturn]] void give_up(const Error& error) {
  std::fprintf(stderr, "data_bench: %s\n", error.message.c_str());
  std::exit(1);
}

AugmentSpec augmentation(const std::string& kind) {
  AugmentSpec spec;
  spec.flip = kind != "centre";
  if (kind == "resized_crop") spec.resized_crop = 0.08;
  if (kind == "pad_crop") spec.pad_crop = 4;
  return spec;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 7) {
    std::fprintf(stderr,
                 "usage: data_bench DIRECTORY SIZE RESIZE resized_crop|centre|pad_crop CACHE SECONDS\n");
    return 2;
  }
  const auto splits =
      open_dataset("imagefolder", argv[1], {{"size", argv[2]}, {"resize", argv[3]}, {"cache", argv[5]}});
  if (!splits) give_up(splits.error());
  Dataset& data = *splits->train;
  if (const Status ready = data.prepare(); !ready) give_up(ready.error());
  const auto augmenter = Augmenter::create(augmentation(argv[4]), 1, data);
  if (!augmenter) give_up(augmenter.error());

  const double seconds = std::atof(argv[6]);
  LabelledImages images;
  std::uint64_t read = 0;
  double begun = 0;
  for (std::uint64_t batch = 0; begun == 0 || now() < begun + seconds; ++batch) {
    std::vector<SampleUse> samples;
    for (int i = 0; i < kMicroBatch; ++i) {
      const std::uint64_t position = batch * kMicroBatch + i;
      samples.push_back({position / data.size(), static_cast<std::uint32_t>(position % data.size())});
    }
    if (const Status status = augmenter->read(samples, images); !status) give_up(status.error());
    // The first micro-batch warms caches and allocators up.
    if (begun == 0)
      begun = now();
    else
      read += kMicroBatch;
  }
  std::printf("%.1f\n", static_cast<double>(read) / (now() - begun));
  return 0;
}
