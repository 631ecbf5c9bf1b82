#include "actors/sample_devices.h"

#include <algorithm>
#include <numeric>
#include <set>

#include <gtest/gtest.h>

#include "protocol/spec/job_spec.h"

namespace seng {
namespace {

Workload workload_of(const std::string& model, const std::string& optimizer) {
  return *load_workload(*parse_job_spec("name: s\nmodel: {name: " + model +
                                            "}\ndata: {name: synthetic, train: 100, test: 10, channels: 3, "
                                            "height: 32, width: 32, classes: 10}\n"
                                            "batch: {global: 16, micro: 8}\nsteps: 2\noptimizer: " +
                                            optimizer + "\n",
                                        "test"));
}
constexpr const char* kSeng = "{name: seng, lr: 0.05, curvature: {every: 3, samples: 16}}";

TEST(SampleStreams, AreAsManyAsTheOptimizerHasUseFor) {
  EXPECT_EQ(sample_streams(workload_of("resnet18, width: 8", "{name: sgd, lr: 0.05}")), 0);
  EXPECT_EQ(
      sample_streams(workload_of("resnet18, width: 8", "{name: kfac, lr: 0.05, curvature: {samples: 16}}")),
      1);
  EXPECT_EQ(sample_streams(workload_of("resnet18, width: 8", kSeng)), 4);
}

// Of samples that are read, of the direction, and of kernels that are started, whatever the size.
TEST(SampleStreams, ShareTheBlocksEvenly) {
  const Workload workload = workload_of("resnet18", kSeng);
  const std::vector<std::uint32_t> stream_of = share_blocks(workload, 4);
  ASSERT_EQ(stream_of.size(), workload.network.blocks().size());
  std::vector<double> work(4);
  std::vector<int> blocks(4);
  for (std::size_t b = 0; b < stream_of.size(); ++b) {
    ASSERT_LT(stream_of[b], 4u);
    work[stream_of[b]] += 2e7 + static_cast<double>(workload.network.blocks()[b].count) +
                          2 * static_cast<double>(workload.fragments[b].floats);
    ++blocks[stream_of[b]];
  }
  const double mean = std::accumulate(work.begin(), work.end(), 0.0) / 4;
  EXPECT_LT(*std::ranges::max_element(work), 1.1 * mean);
  EXPECT_GT(*std::ranges::min_element(blocks), 7);  // of 41
  EXPECT_EQ(share_blocks(workload, 4), stream_of);
  EXPECT_EQ(share_blocks(workload, 1), std::vector<std::uint32_t>(stream_of.size(), 0));
}

TEST(SampleStreams, AreGivenToTheBlocksAsShared) {
  Workload workload = workload_of("resnet18, width: 8", kSeng);
  EXPECT_EQ(workload.sample_device(0), nullptr);
  ASSERT_TRUE(make_sample_devices(workload, Device::kCpu));
  const std::vector<std::uint32_t> stream_of = share_blocks(workload, 4);
  std::set<const SampleDevice*> devices;
  for (std::size_t a = 0; a < stream_of.size(); ++a) {
    devices.insert(workload.sample_device(a).get());
    for (std::size_t b = 0; b < stream_of.size(); ++b)
      EXPECT_EQ(workload.sample_device(a) == workload.sample_device(b), stream_of[a] == stream_of[b]);
  }
  EXPECT_EQ(devices.size(), 4u);
  EXPECT_FALSE(devices.contains(nullptr));
}

}  // namespace
}  // namespace seng
