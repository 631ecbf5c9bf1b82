#include "actors/sample_devices.h"

#include <algorithm>
#include <numeric>

namespace seng {
namespace {

// Of a block's direction, beside what its size says: some six kernels of a few microseconds, as floats that a
// GPU with 3 TB/s reads meanwhile.
constexpr double kStart = 2e7;
constexpr int kSampleStreams = 4;

}  // namespace

int sample_streams(const Workload& workload) {
  if (!workload.second_order) return 0;
  if (workload.spec.optimizer.name == "kfac") return 1;
  return std::clamp(static_cast<int>(workload.network.blocks().size()), 1, kSampleStreams);
}

std::vector<std::uint32_t> share_blocks(const Workload& workload, int streams) {
  const auto& blocks = workload.network.blocks();
  std::vector<double> work;
  for (std::size_t b = 0; b < blocks.size(); ++b)
    work.push_back(kStart + static_cast<double>(blocks[b].count) +
                   static_cast<double>(workload.fragments[b].floats) *
                       static_cast<double>(workload.spec.micro_batches()));
  std::vector<std::size_t> order(blocks.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, std::greater{}, [&](std::size_t b) { return work[b]; });
  std::vector<double> given(static_cast<std::size_t>(streams));
  std::vector<std::uint32_t> stream_of(blocks.size());
  for (const std::size_t b : order) {
    const auto least = std::ranges::min_element(given);
    *least += work[b];
    stream_of[b] = static_cast<std::uint32_t>(least - given.begin());
  }
  return stream_of;
}

Status make_sample_devices(Workload& workload, Device device) {
  const int streams = sample_streams(workload);
  if (streams == 0) return {};
  std::vector<std::shared_ptr<SampleDevice>> devices;
  for (int i = 0; i < streams; ++i) {
    auto backend = make_backend(device);
    if (!backend) return fail(backend.error());
    (*backend)->make_ready();
    devices.push_back(std::make_shared<SampleDevice>(std::move(*backend)));
  }
  for (const std::uint32_t stream : share_blocks(workload, streams))
    workload.sample_devices.push_back(devices[stream]);
  return {};
}

}  // namespace seng
