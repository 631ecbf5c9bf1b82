#include "daemon/slot_devices.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <sstream>

#include <fmt/format.h>

#include "protocol/base/text.h"

namespace seng {
namespace {

// CUDA_VISIBLE_DEVICES is a list of UUIDs, or beginnings of one, and of numbers; it ends before the first
// that names nothing. Numbers are the driver's (CUDA_DEVICE_ORDER=PCI_BUS_ID).
std::vector<GpuRecord> visible_of(const std::vector<GpuRecord>& gpus,
                                  const std::optional<std::string>& list) {
  std::vector<GpuRecord> out;
  const auto answers = [](const GpuRecord& gpu) { return !gpu.uuid.empty(); };
  if (!list) std::ranges::copy_if(gpus, std::back_inserter(out), answers);
  if (!list) return out;
  std::istringstream entries(*list);
  for (std::string entry; std::getline(entries, entry, ',');) {
    std::size_t number = 0;
    const auto [end, error] = std::from_chars(entry.data(), entry.data() + entry.size(), number);
    auto found = gpus.end();
    if (error == std::errc() && end == entry.data() + entry.size()) {
      if (number < gpus.size()) found = gpus.begin() + static_cast<std::ptrdiff_t>(number);
    } else if (!entry.empty()) {
      found = std::find_if(gpus.begin(), gpus.end(),
                           [&](const GpuRecord& gpu) { return gpu.uuid.starts_with(entry); });
    }
    if (found == gpus.end()) break;
    if (answers(*found)) out.push_back(*found);
  }
  return out;
}

}  // namespace

std::string gpus_lack(const SlotRequest& request, const Result<std::vector<GpuRecord>>& gpus) {
  if (!request.backend_lacks.empty()) return request.backend_lacks;
  if (!gpus) return gpus.error().message;
  if (gpus->empty()) return "the NVIDIA driver shows no GPU";
  if (visible_of(*gpus, std::nullopt).empty()) return gpus->front().model;
  if (visible_of(*gpus, request.visible).empty()) return "CUDA_VISIBLE_DEVICES hides all GPUs";
  return "";
}

Result<std::vector<SlotDevice>> plan_slots(const SlotRequest& request,
                                           const Result<std::vector<GpuRecord>>& gpus) {
  const std::vector<GpuRecord> visible = gpus ? visible_of(*gpus, request.visible) : std::vector<GpuRecord>();
  const std::string lacks = gpus_lack(request, gpus);
  if (request.device == "cpu" || (request.device == "auto" && !lacks.empty()))
    return std::vector<SlotDevice>(request.slots > 0 ? request.slots : request.cpu_slots);
  if (!lacks.empty()) return fail(ErrorCode::kUnsupported, "--device cuda: " + lacks);

  const std::uint64_t most = visible.size() * std::max<std::uint64_t>(request.actors_per_gpu, 1);
  if (request.slots > most && request.actors_per_gpu > 0)
    return fail(
        ErrorCode::kUnsupported,
        fmt::format("--slots {}: this machine has {} of {} each; --actors-per-gpu gives "
                    "more, --device cpu leaves them alone",
                    request.slots, counted(visible.size(), "GPU"), counted(request.actors_per_gpu, "actor")));
  std::vector<SlotDevice> out(request.slots > 0 ? request.slots : most);
  for (std::size_t slot = 0; slot < out.size(); ++slot) {
    const GpuRecord& gpu = visible[slot % visible.size()];
    const bool shares = slot >= visible.size() || slot + visible.size() < out.size();
    out[slot] = {"cuda", gpu.model, gpu.uuid, gpu.memory_bytes, shares};
  }
  return out;
}

std::uint64_t largest_gpu_memory(const std::vector<SlotDevice>& slots) {
  std::uint64_t largest = 0;
  for (const SlotDevice& slot : slots) {
    if (slot.device == "cpu") continue;
    if (slot.gpu_memory == 0) return 0;
    largest = std::max(largest, slot.gpu_memory);
  }
  return largest;
}

std::uint32_t gpu_host_threads(std::uint32_t cores, std::uint32_t slots) {
  constexpr std::uint32_t kMost = 16;
  return std::clamp<std::uint32_t>(cores / std::max(slots, 1u), 1, kMost);
}

std::uint32_t most_of_one_kind(const std::vector<SlotDevice>& slots) {
  std::map<std::string, std::uint32_t> count;
  std::uint32_t most = 0;
  for (const SlotDevice& slot : slots) most = std::max(most, ++count[slot.kind]);
  return most;
}

}  // namespace seng
