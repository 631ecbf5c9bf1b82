// What a job asks an actor to do, resolved: its network, its data and every number derived from them. The
// same on every actor of the job.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "actors/data/augment.h"
#include "actors/data/dataset.h"
#include "actors/nn/network.h"
#include "actors/optim/curvature.h"
#include "actors/optim/form_choice.h"
#include "protocol/base/error.h"
#include "protocol/spec/job_spec.h"

namespace seng {

struct Workload {
  JobSpec spec;  // with the ranks that `rank: auto` came to, if they had not been decided before
  Network network;
  DataSplits data;
  std::unique_ptr<Augmenter> augmenter;  // of data.train
  std::uint64_t steps_total = 0;
  double epochs_total = 0;               // steps_total * batch / training samples
  double schedule_end = 0;               // where the learning rate's schedule ends, in epochs
  bool second_order = false;             // the optimizer keeps curvature
  int factor_samples = 0;                // per micro-batch on a refresh step: N / V
  Precision stored = Precision::kF32;    // of curvature
  std::vector<FragmentShape> fragments;  // per block; empty for a first-order optimizer
  // Per block what multiplies its curvature's samples (sample_devices.h); empty: the CPU.
  std::vector<std::shared_ptr<SampleDevice>> sample_devices;
  std::shared_ptr<SampleDevice> sample_device(std::size_t block) const {
    return sample_devices.empty() ? nullptr : sample_devices[block];
  }

  // Passes over the training data once `step` steps are committed.
  double epoch_after(std::uint64_t step) const {
    return static_cast<double>(step) * spec.batch_global / static_cast<double>(data.train->size());
  }
  // Steps are numbered from 1; the first renews the curvature, then every `every`-th.
  bool refreshes(std::uint64_t step) const {
    return second_order && (step - 1) % spec.optimizer.curvature.every == 0;
  }
  // Whether refreshes take effect one step later: of seng's curvature only.
  bool overlaps() const { return spec.optimizer.name == "seng" && spec.optimizer.curvature.overlap; }
  // The refresh that takes effect in that step: its own, or with `overlap` that of the step before; 0: none.
  std::uint64_t taking_effect(std::uint64_t step) const {
    if (overlaps()) return step > 1 && refreshes(step - 1) ? step - 1 : 0;
    return refreshes(step) ? step : 0;
  }
  // With `overlap`, the refresh whose samples are all there after that step and which waits for the next; 0:
  // none.
  std::uint64_t waiting_after(std::uint64_t step) const {
    return step > 0 && overlaps() && refreshes(step) ? step : 0;
  }
  // The damping of that step by the schedule; next_damping() of train_state.h asks where it adapts.
  double damping_at(std::uint64_t step) const;
  // With adaptive damping: the steps that are tried, and those that judge the step before.
  bool adapts_damping() const { return second_order && spec.optimizer.adaptive.every > 0; }
  bool tries_damping(std::uint64_t step) const {
    return adapts_damping() && (step + 1) % spec.optimizer.adaptive.every == 0;
  }
  bool judges_damping(std::uint64_t step) const {
    return adapts_damping() && step % spec.optimizer.adaptive.every == 0;
  }
  bool scales_loss() const { return spec.engine_precision == "f16"; }
  // True after the steps that end an interval of `every_epochs` (0: never) and after the last.
  bool evaluates(std::uint64_t step) const;
  bool checkpoints(std::uint64_t step) const;
  bool ends_epoch(std::uint64_t step) const;
};

// The job's length in steps, rounded up, over `samples` training samples; not bounded.
double length_in_steps(const JobSpec& spec, std::size_t samples);
// Whether the learning rate's schedule has an end, and may have another one than the job (`end_epochs`).
bool schedule_ends(const ScheduleSpec& lr);
bool schedule_may_end_itself(const ScheduleSpec& lr);
// The step at which the schedule has come to its end: the job's length, or `end_epochs` rounded up to whole
// steps as `epochs` is, so that the length said out loud gives the same learning rates.
double schedule_end_in_steps(const JobSpec& spec, std::size_t samples);

// Opens the data set and builds the network. Fractional epochs: the number of steps is rounded up, so that
// every sample of the epochs asked for is used; the last batch is completed from the next epoch's order.
Result<Workload> load_workload(const JobSpec& spec);

// What the job has estimated of its curvature's products.
Approximations approximations(const OptimizerSpec& optimizer);
// Per block: how a replica cuts its factors where its device can (ReplicaOptions::cuts): those of low rank by
// the iteration, as their fragments want them.
std::vector<FactorCut> factor_cuts(const Workload& workload);
// What a block's curvature costs by the model, in the form that it has; nothing for a first-order optimizer.
FormCost block_cost(const Workload& workload, std::size_t block);

// Bytes of one replica (one lane's planned network) once it has trained, curvature factors included, without
// building one of that size when it would not fit.
struct ReplicaMemory {
  std::size_t bytes = 0;
  std::size_t activations = 0;  // of these: activations and their gradients, at their most
};
Result<ReplicaMemory> replica_memory(const Workload& workload);
ReplicaOptions replica_options(const JobSpec& spec);  // on the CPU, in the job's precision

}  // namespace seng
