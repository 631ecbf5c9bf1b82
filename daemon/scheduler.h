// Who gets the node's slots. Pure: a function of what is asked, what is held and what is free.
//
// Jobs are served by priority, then by age. First every job that runs keeps its min, and waiting jobs get
// theirs, in order; a later one never overtakes one that still waits, so that a big job is not starved by
// small ones. What is left goes to those that hold more than their min, then lets jobs grow toward their
// max, in order. So a waiting job that cannot get its min from free slots takes it from the growth of others,
// the last one's first, and nobody grows at another's cost. Where that is not enough, running jobs of a lower
// priority go back to the queue with a checkpoint: the lowest and youngest first, as few as will do, and none
// if all of them would not.
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
  bool runs = false;                   // else it waits for its first actors
  std::uint32_t holds = 0;             // actors that it has and that are not about to leave
  std::uint32_t wants = 0;             // so many more, now; of a job that runs
  int priority = 0;                    // the higher first
  bool leaves = false;                 // it stops: what it holds comes free by itself
  bool mixed = false;                  // its slots need not be of one kind of device
  std::string kind = {};               // the kind that it is bound to; empty: none yet
};

struct SlotUse {
  std::uint32_t slot = 0;
  JobId job = 0;             // 0: free
  std::uint64_t memory = 0;  // bytes that its actor was planned to need
  std::string kind = {};     // of device
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

// A running job is to hold at most so many, for the sake of one that waits.
struct Limit {
  JobId job = 0;
  std::uint32_t actors = 0;
  JobId waiting = 0;
};

// A running job is to stop and to wait again, for one that waits and has a higher priority.
struct Preemption {
  JobId job = 0;
  JobId waiting = 0;
};

struct Schedule {
  std::vector<Grant> grants;
  std::vector<Wait> waits;
  std::vector<Limit> limits;
  std::vector<Preemption> preemptions;
};

// `demands` of all jobs that wait or run, in any order.
Schedule schedule(std::vector<JobDemand> demands, const Capacity& capacity);

}  // namespace seng
