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
#include "protocol/base/error.h"
#include "protocol/spec/job_spec.h"

namespace seng {

struct Workload {
  JobSpec spec;
  Network network;
  DataSplits data;
  std::unique_ptr<Augmenter> augmenter;  // of data.train
  std::uint64_t steps_total = 0;
  double epochs_total = 0;               // steps_total * batch / training samples
  double schedule_end = 0;               // where the learning rate's schedule ends, in epochs
  bool second_order = false;             // the optimizer keeps curvature
  int factor_samples = 0;                // per micro-batch on a refresh step: N / V
  std::vector<FragmentShape> fragments;  // per block; empty for a first-order optimizer

  // Passes over the training data once `step` steps are committed.
  double epoch_after(std::uint64_t step) const {
    return static_cast<double>(step) * spec.batch_global / static_cast<double>(data.train->size());
  }
  // Steps are numbered from 1; the first renews the curvature, then every `every`-th.
  bool refreshes(std::uint64_t step) const {
    return second_order && (step - 1) % spec.optimizer.curvature.every == 0;
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

// Bytes of one replica (one lane's planned network), without building one of that size when it would not fit.
Result<std::size_t> replica_bytes(const Workload& workload);
ReplicaOptions replica_options(const JobSpec& spec);

}  // namespace seng
