// The life of an actor within its job: takes the daemon's commands, joins memberships, trains, evaluates,
// writes checkpoints, reports. Runs on the process's main thread.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "actors/evaluation.h"
#include "actors/group_checkpoint.h"
#include "actors/session.h"
#include "actors/trainer.h"
#include "protocol/base/error.h"

namespace seng {

struct DriverOptions {
  JobId job = 0;
  ActorId actor = 0;
  int slot_lanes = 1;         // threads of the slot, where the job does not say
  std::string peer_endpoint;  // where this actor's peer socket binds
};

class Driver {
 public:
  Driver(DriverOptions options, Session& session);
  ~Driver();

  // Returns when the actor's part of the job is done (Finished has been sent).
  Status run();

 private:
  Status prepare(const Welcome& welcome);
  Status enter_group(const Command& reconfigure);
  Status train();  // until the job ends or the membership changes
  Status interrupted(const std::string& reason) const;
  Status after_step(const StepMetrics& metrics, bool last);
  void report_epoch(const StepMetrics& metrics, const std::optional<EvaluationResult>& evaluation);
  Status checkpoint(bool last, bool stopped);
  bool leads() const { return group_.members.front().actor == options_.actor; }

  DriverOptions options_;
  Session& session_;
  std::unique_ptr<Workload> workload_;
  std::unique_ptr<Exchange> exchange_;
  std::unique_ptr<Lanes> lanes_;
  std::vector<Replica> replicas_;
  std::unique_ptr<Ledger> ledger_;
  TrainState state_;
  std::unique_ptr<Trainer> trainer_;
  std::unique_ptr<Evaluation> evaluation_;
  std::unique_ptr<GroupCheckpoint> group_checkpoint_;
  Group group_;
  bool finished_ = false;
  // Set on the session's thread when a command wants the step in hand left; other interruptions are failures.
  std::atomic<bool> asked_to_leave_{false};

  // Sums over the steps since the last epoch report.
  struct Running {
    double loss = 0, accuracy = 0, seconds = 0;
    std::uint64_t steps = 0;
  } running_;
};

}  // namespace seng
