// Who gets the node's slots. Pure: a function of what is asked and what is free.
//
// Jobs are served by age. The oldest waiting job gets as many actors as fit, up to its max, once at least its
// min fits; a younger job never overtakes it, so that a big job is not starved by small ones.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "protocol/base/ids.h"

namespace seng {

struct JobDemand {
  JobId job = 0;  // ages are in the order of numbers
  std::uint32_t min = 1, max = 1;
  std::uint64_t memory_per_actor = 0;  // bytes, as planned; 0: unknown
};

struct SlotUse {
  std::uint32_t slot = 0;
  JobId job = 0;             // 0: free
  std::uint64_t memory = 0;  // bytes that its actor was planned to need
};

struct Capacity {
  std::vector<SlotUse> slots;
  std::uint64_t memory = 0;  // bytes of the node; 0: unknown, no limit
};

struct Grant {
  JobId job = 0;
  std::vector<std::uint32_t> slots;  // one actor each, ascending
};

struct Wait {
  JobId job = 0;
  std::string why;  // "waits for 2 slots: 1 of 4 is free (job 3 holds 3)"
};

struct Schedule {
  std::vector<Grant> grants;
  std::vector<Wait> waits;
};

// `demands` of the waiting jobs, in any order.
Schedule schedule(std::vector<JobDemand> demands, const Capacity& capacity);

}  // namespace seng
