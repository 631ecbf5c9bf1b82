#include "daemon/scheduler.h"

#include <algorithm>
#include <map>

#include <fmt/format.h>

namespace seng {
namespace {

struct Free {
  std::vector<std::uint32_t> slots;
  std::uint64_t memory = 0;
};

Free free_of(const Capacity& capacity) {
  Free free{{}, capacity.memory};
  for (const SlotUse& use : capacity.slots) {
    if (use.job == 0) {
      free.slots.push_back(use.slot);
    } else {
      free.memory -= std::min(free.memory, use.memory);
    }
  }
  std::sort(free.slots.begin(), free.slots.end());
  return free;
}

std::string holders_text(const std::map<JobId, std::size_t>& held) {
  std::string text;
  for (const auto& [job, slots] : held)
    text += fmt::format("{}job {} holds {}", text.empty() ? "" : ", ", job, slots);
  return text.empty() ? "" : " (" + text + ")";
}

std::uint64_t fitting(const JobDemand& demand, const Capacity& capacity, const Free& free) {
  std::uint64_t count = std::min<std::uint64_t>(demand.max, free.slots.size());
  if (capacity.memory > 0 && demand.memory_per_actor > 0) {
    count = std::min(count, free.memory / demand.memory_per_actor);
  }
  return count;
}

std::string mebibytes(std::uint64_t bytes) {
  return fmt::format("{} MiB", bytes >> 20);
}

}  // namespace

Schedule schedule(std::vector<JobDemand> demands, const Capacity& capacity) {
  std::sort(demands.begin(), demands.end(), [](const auto& a, const auto& b) { return a.job < b.job; });
  Free free = free_of(capacity);
  std::map<JobId, std::size_t> held;
  for (const SlotUse& use : capacity.slots) {
    if (use.job != 0) ++held[use.job];
  }
  Schedule out;
  JobId first_waiting = 0;
  for (const JobDemand& demand : demands) {
    if (first_waiting != 0) {
      out.waits.push_back({demand.job, fmt::format("waits behind job {}, which is older", first_waiting)});
      continue;
    }
    const std::uint64_t count = fitting(demand, capacity, free);
    if (count >= demand.min) {
      Grant grant{demand.job, {free.slots.begin(), free.slots.begin() + static_cast<std::ptrdiff_t>(count)}};
      free.slots.erase(free.slots.begin(), free.slots.begin() + static_cast<std::ptrdiff_t>(count));
      free.memory -= std::min(free.memory, count * demand.memory_per_actor);
      held[demand.job] += count;
      out.grants.push_back(std::move(grant));
      continue;
    }
    first_waiting = demand.job;
    if (free.slots.size() < demand.min) {
      out.waits.push_back({demand.job, fmt::format("waits for {} slot{}: {} of {} free{}", demand.min,
                                                   demand.min == 1 ? "" : "s", free.slots.size(),
                                                   capacity.slots.size(), holders_text(held))});
    } else {
      out.waits.push_back(
          {demand.job, fmt::format("waits for memory: {} actor{} of {} each, {} of {} free{}", demand.min,
                                   demand.min == 1 ? "" : "s", mebibytes(demand.memory_per_actor),
                                   mebibytes(free.memory), mebibytes(capacity.memory), holders_text(held))});
    }
  }
  return out;
}

}  // namespace seng
