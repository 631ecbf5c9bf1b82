#include "daemon/slot_devices.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace seng::testing {
namespace {

using ::testing::HasSubstr;

const std::vector<GpuRecord> kGpus = {{"GPU-aa", "H100"}, {"GPU-ab", "H100"}, {"GPU-c", "A2"}};

std::string told(const Result<std::vector<SlotDevice>>& slots) {
  if (!slots) return "refused: " + slots.error().message;
  std::string out;
  for (const SlotDevice& slot : *slots)
    out += slot.device == "cpu" ? "cpu " : slot.kind + "/" + slot.gpu + " ";
  return out;
}

SlotRequest request(const std::string& device, std::uint32_t slots = 0, std::uint32_t per_gpu = 0) {
  SlotRequest out;
  out.device = device;
  out.slots = slots;
  out.cpu_slots = 2;
  out.actors_per_gpu = per_gpu;
  return out;
}

TEST(SlotDevices, AreOneForEachGpu) {
  const std::string all = "H100/GPU-aa H100/GPU-ab A2/GPU-c ";
  EXPECT_EQ(told(plan_slots(request("auto"), kGpus)), all);
  EXPECT_EQ(told(plan_slots(request("cuda"), kGpus)), all);
  EXPECT_EQ(told(plan_slots(request("cuda", 2), kGpus)), "H100/GPU-aa H100/GPU-ab ");
  EXPECT_EQ(told(plan_slots(request("cpu"), kGpus)), "cpu cpu ");
}

TEST(SlotDevices, ShareGpusWhenAskedTo) {
  const std::vector<GpuRecord> two(kGpus.begin(), kGpus.begin() + 2);
  const std::string twice = "H100/GPU-aa H100/GPU-ab H100/GPU-aa H100/GPU-ab ";
  EXPECT_EQ(told(plan_slots(request("cuda", 0, 2), two)), twice);
  EXPECT_EQ(told(plan_slots(request("auto", 4), two)), twice);
  EXPECT_THAT(told(plan_slots(request("auto", 5, 2), two)),
              HasSubstr("--slots 5: this machine has 2 GPUs of 2 actors each"));
}

TEST(SlotDevices, KnowWhetherTheyShareTheirGpu) {
  const auto shares = [](const SlotRequest& asked) {
    std::string out;
    const auto slots = plan_slots(asked, kGpus);
    for (const SlotDevice& slot : slots.value()) out += slot.shares_gpu ? "1" : "0";
    return out;
  };
  EXPECT_EQ(shares(request("cuda")), "000");
  EXPECT_EQ(shares(request("cuda", 2)), "00");
  EXPECT_EQ(shares(request("cuda", 4)), "1001");
  EXPECT_EQ(shares(request("cuda", 0, 2)), "111111");
  EXPECT_EQ(shares(request("cpu")), "00");
}

TEST(SlotDevices, AutoIsTheCpuWhereNoGpuCanBeUsed) {
  const Result<std::vector<GpuRecord>> none = std::vector<GpuRecord>();
  const Result<std::vector<GpuRecord>> unknown = fail(ErrorCode::kUnavailable, "no driver here");
  SlotRequest lacking = request("auto");
  lacking.backend_lacks = "no backend here";
  EXPECT_EQ(told(plan_slots(request("auto"), none)), "cpu cpu ");
  EXPECT_EQ(told(plan_slots(request("auto", 3), unknown)), "cpu cpu cpu ");
  EXPECT_EQ(told(plan_slots(lacking, kGpus)), "cpu cpu ");
  EXPECT_THAT(told(plan_slots(request("cuda"), none)),
              HasSubstr("--device cuda: the NVIDIA driver shows no GPU"));
  EXPECT_THAT(told(plan_slots(request("cuda"), unknown)), HasSubstr("--device cuda: no driver here"));
  lacking.device = "cuda";
  EXPECT_THAT(told(plan_slots(lacking, kGpus)), HasSubstr("--device cuda: no backend here"));
}

TEST(SlotDevices, OnGpusHaveAShareOfTheCores) {
  EXPECT_EQ(gpu_host_threads(16, 1), 16u);
  EXPECT_EQ(gpu_host_threads(64, 2), 16u) << "memory has no use for more";
  EXPECT_EQ(gpu_host_threads(96, 8), 12u);
  EXPECT_EQ(gpu_host_threads(2, 3), 1u);
  EXPECT_EQ(gpu_host_threads(4, 0), 4u);
}

TEST(SlotDevices, AreThoseThatTheDaemonMaySee) {
  SlotRequest some = request("cuda");
  const auto with = [&](const std::string& visible) {
    some.visible = visible;
    return told(plan_slots(some, kGpus));
  };
  EXPECT_EQ(with("2,0"), "A2/GPU-c H100/GPU-aa ");
  EXPECT_EQ(with("GPU-ab"), "H100/GPU-ab ");
  EXPECT_EQ(with("1,7,0"), "H100/GPU-ab ") << "the list ends before what names nothing";
  EXPECT_THAT(with(""), HasSubstr("CUDA_VISIBLE_DEVICES hides all GPUs"));
  EXPECT_THAT(with("-1"), HasSubstr("CUDA_VISIBLE_DEVICES hides all GPUs"));
}

TEST(SlotDevices, AreNotThoseThatDoNotAnswer) {
  std::vector<GpuRecord> gpus = kGpus;
  gpus[0] = {"", "it is lost"};
  EXPECT_EQ(told(plan_slots(request("auto"), gpus)), "H100/GPU-ab A2/GPU-c ");
  SlotRequest some = request("cuda");
  some.visible = "0,2";
  EXPECT_EQ(told(plan_slots(some, gpus)), "A2/GPU-c ") << "the others keep their numbers";
  gpus.resize(1);
  EXPECT_EQ(told(plan_slots(request("auto"), gpus)), "cpu cpu ");
  EXPECT_EQ(gpus_lack(request("auto"), gpus), "it is lost");
}

TEST(SlotDevices, OfOneKindAreCounted) {
  EXPECT_EQ(most_of_one_kind(*plan_slots(request("cuda"), kGpus)), 2u);
  EXPECT_EQ(most_of_one_kind(*plan_slots(request("cpu", 5), kGpus)), 5u);
  EXPECT_EQ(most_of_one_kind({}), 0u);
}

}  // namespace
}  // namespace seng::testing
