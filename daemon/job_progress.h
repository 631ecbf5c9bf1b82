// Keeps a job's record true from what its actors report. Pure.
#pragma once

#include <set>
#include <vector>

#include "daemon/job_plan.h"
#include "protocol/messages/lifecycle.h"
#include "protocol/messages/records.h"

namespace seng {

class JobProgress {
 public:
  explicit JobProgress(const JobPlan& plan) : plan_(plan) {}

  // Each updates `record`, but not its revision.
  void on(const Progress& report, bool leads, JobRecord& record);
  // Steps whose word comes late, or from another than the leader: the job may be somewhere else by now.
  void on_late(const std::vector<StepMetrics>& steps, JobRecord& record);
  void on(const EpochReport& report, JobRecord& record);
  void on(const CheckpointReport& report, JobRecord& record);
  void on(const Finished& report, JobRecord& record);

  // The job has restored that step: those behind it will be made and reported again.
  void go_back(std::uint64_t step, JobRecord& record) const;
  // Steps up to `step` were counted by a daemon before this one.
  void go_on_from(std::uint64_t step) { newest_step_ = step; }

 private:
  void set_step(std::uint64_t step, JobRecord& record) const;
  double epoch_of(std::uint64_t step) const;
  void add_step(const StepMetrics& step, JobRecord& record);

  // Means weighted by steps.
  static constexpr std::size_t kMostCounted = 100'000;
  struct Mean {
    double loss = 0, accuracy = 0, steps = 0;
    void add(double new_loss, double new_accuracy, double new_steps);
  };

  JobPlan plan_;
  std::uint64_t newest_step_ = 0;                 // of the metrics taken
  Mean so_far_;                                   // over the single steps of the epoch in hand, which are
  std::set<std::uint64_t> counted_;               // these; the first kMostCounted of them
  double epoch_in_hand_ = 0;                      // its number, from 0
  Mean this_epoch_;                               // over the leader's records since the last whole epoch
  std::uint64_t record_step_ = 0;                 // of the leader's last record
  double next_epoch_ = 1;                         // the pass whose end is waited for
  double recent_seconds_ = 0, recent_steps_ = 0;  // of the last reports, older ones fading
};

}  // namespace seng
