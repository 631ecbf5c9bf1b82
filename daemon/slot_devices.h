// What each slot of a node computes on. Pure: a function of the options and of what GPUs there are.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "protocol/base/error.h"
#include "protocol/messages/records.h"

namespace seng {

struct SlotDevice {
  std::string device = "cpu";    // seng-actor's --device: cpu | cuda
  std::string kind = "cpu";      // on one kind a job's bits are the same: "cpu", or the GPU's model
  std::string gpu;               // its UUID, the actor's CUDA_VISIBLE_DEVICES; empty: none
  std::uint64_t gpu_memory = 0;  // bytes, of all who share it; 0: unknown
  bool shares_gpu = false;       // with another slot
};

struct SlotRequest {
  std::string device = "cpu";          // cpu | cuda | auto: GPUs where they can be used, else the CPU
  std::uint32_t slots = 0;             // 0: actors_per_gpu (else 1) for each GPU, or cpu_slots
  std::uint32_t cpu_slots = 1;         // where the slots are the CPU's
  std::uint32_t actors_per_gpu = 0;    // that share one at most; 0: as many as slots ask for
  std::optional<std::string> visible;  // the daemon's own CUDA_VISIBLE_DEVICES
  std::string backend_lacks;           // why actors have no CUDA backend; empty: they have one
};

// Why there is no GPU to use; empty where there is one. `gpus` as Gpus::read() has them.
std::string gpus_lack(const SlotRequest& request, const Result<std::vector<GpuRecord>>& gpus);

// Neighbouring slots are on different GPUs, as far as there are. kUnsupported, in words: `cuda` was asked for
// and something is missing, or more slots than the GPUs give.
Result<std::vector<SlotDevice>> plan_slots(const SlotRequest& request,
                                           const Result<std::vector<GpuRecord>>& gpus);

// The largest GPU's memory; 0: there is none, or one is not known.
std::uint64_t largest_gpu_memory(const std::vector<SlotDevice>& slots);

// Threads of an actor on a GPU for what stays with the host: its even share of the cores, at most so many as
// memory keeps busy.
std::uint32_t gpu_host_threads(std::uint32_t cores, std::uint32_t slots);

// The slots that one job can have together.
std::uint32_t most_of_one_kind(const std::vector<SlotDevice>& slots);

}  // namespace seng
