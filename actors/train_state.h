// What training changes: the state "step t" that every member of the group holds alike (weights, momentum,
// running statistics), and the curvature of the blocks that this actor owns or backs up.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "actors/optim/curvature.h"
#include "actors/optim/damping_control.h"
#include "actors/optim/loss_scale.h"
#include "actors/workload.h"
#include "protocol/base/ids.h"
#include "protocol/messages/metrics.h"

namespace seng {

// Sums over the steps since the last epoch report. Every member keeps them, so that whoever leads can report.
struct EpochTally {
  double loss = 0, accuracy = 0;
  std::uint64_t steps = 0;
  bool closed = false;  // the report is due or made; the next step begins anew
  // This actor's own clock, over the steps that it took part in: differs between actors, and is not handed
  // on.
  double seconds = 0;
  std::uint64_t timed_steps = 0;

  void add(double step_loss, double step_accuracy) {
    if (closed) *this = {};
    loss += step_loss;
    accuracy += step_accuracy;
    steps += 1;
  }
  void add(double step_loss, double step_accuracy, double step_seconds) {
    add(step_loss, step_accuracy);
    seconds += step_seconds;
    timed_steps += 1;
  }
};

struct TrainState {
  std::uint64_t step = 0;  // committed steps
  std::vector<float> parameters, momentum, statistics;
  // Per block: the refresh whose curvature is in force, wherever it lies; 0: none.
  std::vector<std::uint64_t> curvature_steps;
  std::vector<double> curvature_lambdas;  // per block: its damping; 0: none
  DampingState damping;                   // all zero where the damping does not adapt
  LossScale loss_scale;                   // all zero where gradients are not scaled
  EpochTally tally;
  // Of the newest step what is the same whoever has made it, so that whoever has the state can tell it. What
  // is an actor's own (seconds, bytes) is only here if this one made the step, and is not handed on. Step 0:
  // not known, since the state was restored.
  StepMetrics metrics;
  std::map<std::uint32_t, Curvature> curvature;  // by block: what lies here
  // The newest membership that it was trained in or taken from, see lineage_in(). Of step 0, and behind a
  // restore, zero.
  GroupEpoch lineage;

  // The state of step 0: initialised from the job's seed.
  static TrainState initial(const Workload& workload);

  std::span<const float> parameters_of(const Block& block) const {
    return std::span(parameters).subspan(block.offset, block.count);
  }
};

// Zero where a step has the same bits in every membership. Under `exchange.reduce: fast` the membership: a
// step that was left and made again in the next one is another.
GroupEpoch lineage_in(const Workload& workload, const GroupEpoch& epoch);

// The damping of the step to come; a refresh takes it into its curvature.
double next_damping(const Workload& workload, const TrainState& state);

CurvatureOptions curvature_options(const Workload& workload, std::uint32_t block);
// An empty place for a block's curvature.
Curvature empty_curvature(const Workload& workload, std::uint32_t block);

}  // namespace seng
