// What the daemon must know of a job to run it, from its specification and from what `seng-actor plan` says
// of it.
#pragma once

#include <cstdint>
#include <string>

#include "protocol/base/error.h"
#include "protocol/messages/records.h"

namespace seng {

struct JobPlan {
  std::string name, model, optimizer;
  std::uint32_t micro_batches = 1;  // V
  std::uint32_t batch_global = 1;
  std::uint32_t actors_min = 1, actors_max = 1;
  std::uint32_t lanes = 0;  // per actor; 0: the slot's threads
  std::uint64_t steps_total = 0;
  double epochs_total = 0;
  std::uint64_t train_samples = 0;
  std::uint64_t memory_per_actor = 0;      // bytes; 0: unknown
  std::uint64_t gpu_memory_per_actor = 0;  // bytes of its GPU, where it is on one; 0: unknown
  std::uint32_t restarts_max = 20;         // lost actors that are replaced within the window
  double restart_window_s = 3600;
  int priority = 0;              // the higher gets its actors first
  std::string precision;         // engine.precision; all but f32 is a GPU's
  bool insists_on_nccl = false;  // exchange.path, a GPU's too
  bool fast_reduce = false;      // exchange.reduce: NCCL's sums, likewise
  bool mixed_devices = false;    // its actors need not be on one kind of device
  std::string initial_sha256;  // of what the job begins with: a checkpoint's state, a file of weights; empty:
                               // its seed
  std::string begins_with;     // the path of that checkpoint or file
  bool tune = false;           // engine.tune
  std::string choices;         // its choices, where it has them
  std::string ranks;           // what optimizer.curvature.rank: auto came to; empty: there is none
};

// The node, as a job must fit into it.
struct NodeLimits {
  std::uint32_t slots = 1;
  std::uint64_t memory_bytes = 0;         // 0: unknown
  std::uint32_t slots_of_one_kind = ~0u;  // of slots, those that are on one kind of device
  std::uint32_t gpu_slots = 0;
  std::uint64_t gpu_memory_bytes = 0;  // of the largest GPU; 0: unknown
  bool nccl = true;                    // actors on GPUs may have NCCL
};

// kInvalidArgument: the specification does not parse, or the plan refuses it: its errors, one per line.
// kInternal: the plan is not what seng-actor prints. `source` names the specification in errors.
Result<JobPlan> make_job_plan(const std::string& spec_yaml, const std::string& source,
                              const std::string& plan_json);

// What the actors get: the specification with all that was decided of it when the job was submitted.
std::string decided_spec(const std::string& spec_yaml, const JobPlan& plan);

// kInvalidArgument where the node could never run the job, with the reason and what to change, behind the key
// that says so, if it is one.
Status check_fit(const JobPlan& plan, const NodeLimits& node);

// A new job's record, in state queued.
JobRecord record_of(const JobPlan& plan, JobId id, double now);

}  // namespace seng
