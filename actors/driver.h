// The life of an actor within its job: takes the daemon's commands, joins memberships, trains, evaluates,
// writes checkpoints, reports. Runs on the process's main thread.
//
//                1 Welcome             2 Reconfigure          3 Assign, pulled        4 Resume
//   connected -------------> prepared --------------> parked ------------------> ready -----------> training
//                             |    ^                   ^  |                        |                   |
//                    7 WarmUp |    |                   |  +-- a leaver: serves     |                   |
//                             v    |                   +------- 5 Reconfigure -----+-------------------+
//                            follows                                                   6 the job's last step
//   1 Data, network and sockets are there: Prepared. Where convolutions' algorithms are still to be chosen
//     (Welcome.awaits_choices) only behind TakeChoices; one actor measures them for all before (Tune).
//   2 Its state stays as it is, or (restore) becomes a checkpoint's or the job's beginning: Parked.
//   3 It has the state of the base step and of the curvature that is placed here: Ready. Or StateLost.
//   4 What follows from the base step (evaluation, checkpoint) is done again, unless the change was planned.
//   5 The step in hand is left, or, if planned, the one that the leader names is the last.
//   6 The leader has saved everything: Finished. All wait for Retire, then exit; so does a leaver. Where no
//     daemon runs they wait for the next one, which learns from the leader what the last one did not store.
//   7 It follows a group that trains, until the last step of its membership or another command; then it is
//     prepared again, with the state that it came to. Reconfigure(planned) waits for that last step.
#pragma once

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "actors/evaluation.h"
#include "actors/exchange/device_link.h"
#include "actors/follower.h"
#include "actors/group_checkpoint.h"
#include "actors/session.h"
#include "actors/state_transfer.h"
#include "actors/trainer.h"
#include "actors/warm_up_service.h"
#include "protocol/base/error.h"

namespace seng {

struct DriverOptions {
  JobId job = 0;
  ActorId actor = 0;
  int slot_lanes = 1;    // threads of the slot, where the job does not say
  int host_threads = 0;  // on a GPU: for what stays with the host, if more than lanes
  Device device = Device::kCpu;
  std::string device_name = {};        // as Backend::device_name
  std::string peer_endpoint;           // where this actor's peer socket binds
  std::string state_endpoint;          // where it offers its state
  const link::Module* nccl = nullptr;  // null: it has none
};

class Driver {
 public:
  Driver(DriverOptions options, Session& session);
  ~Driver();

  // Returns when the actor's part of the job is done (Finished has been sent).
  Status run();
  // Any other actor of the job would fail as this one has.
  bool in_vain() const { return in_vain_; }

 private:
  Status on_command(const Command& command);
  Status on_welcome(const Welcome& welcome);
  Status load(const Welcome& welcome);
  void measure();                                   // driver_tune.cpp
  Status take_choices(const std::string& choices);  // likewise
  Status take_settled(const Welcome& welcome);      // likewise
  Status plan_replicas();                           // likewise
  void tell_missing_graphs();                       // likewise
  Status prepare(const Welcome& welcome);
  Lanes& host_lanes() { return host_lanes_ ? *host_lanes_ : *lanes_; }
  Status open_sockets(const Welcome& welcome);
  Status park(const GroupEpoch& epoch, const Reconfigure& reconfigure);
  Status restore();                        // driver_restore.cpp
  Status on_assign(const Assign& assign);  // driver_join.cpp
  Status join_exchange();                  // likewise
  Status on_resume();
  void warm_up(const GroupEpoch& epoch, const WarmUp& order);  // driver_warm_up.cpp
  void serve_newcomers();
  void listen();
  void retire();
  void flush_ledger();
  Status train();  // until the job ends or the membership changes
  Status take_steps();
  Status after_step(bool last);
  void look_for_divergence(bool weights);
  bool gives_up() const { return !divergence_.empty() && workload_->spec.on_divergence == "fail"; }
  Status give_up();
  void report_epoch(const std::optional<EvaluationResult>& evaluation);
  Status checkpoint(bool last);
  Status finish_checkpoint(bool last = false);
  void tell(const GroupCheckpoint::Report& report);
  void leave_checkpoint();
  void note_ledger(const Status& written);
  void event(Severity severity, const std::string& kind, const std::string& text);

  bool leads() const { return !group_.members.empty() && group_.members.front().actor == options_.actor; }
  bool is_member() const;
  bool must_leave() const;  // for a membership that is announced, or for good
  bool will_leave() const;  // likewise, or it is announced soon; waits for that
  bool leaves_warm_up() const;
  bool change_is_planned() const;  // one that waits for this one's last step
  Status interrupted(const std::string& reason) const;

  DriverOptions options_;
  Session& session_;
  std::unique_ptr<Workload> workload_;
  std::unique_ptr<Exchange> exchange_;
  std::unique_ptr<Lanes> lanes_;
  std::unique_ptr<Lanes> host_lanes_;  // null: lanes_
  std::vector<Replica> replicas_;
  std::unique_ptr<Ledger> ledger_;
  TrainState state_;
  std::unique_ptr<StateTransfer> transfer_;
  std::unique_ptr<WarmUpService> warm_up_service_;
  std::unique_ptr<Follower> follower_;
  std::unique_ptr<Trainer> trainer_;
  std::unique_ptr<Evaluation> evaluation_;
  std::unique_ptr<GroupCheckpoint> group_checkpoint_;
  std::optional<Welcome> welcome_;  // as long as it has not prepared
  std::string checkpoints_dir_;
  std::string initial_sha256_;  // of what the job began with

  Group group_;                       // of the membership in hand
  std::vector<Member> participants_;  // members and leavers
  bool planned_ = false;              // nothing was left for it
  bool assigned_ = false;             // Ready was sent in it
  bool done_ = false;                 // Finished was sent, and the daemon has not answered yet
  bool finished_ = false;
  bool in_vain_ = false;
  bool followed_ = false;       // its state is one that it has followed, not one that it was in a group with
  bool ledger_failed_ = false;  // said so
  bool graphless_ = false;      // likewise
  std::string path_;            // how sums and directions travel, as said last
  std::string divergence_;      // of the training in hand, for the user; empty: it has not diverged

  std::chrono::milliseconds patience_{0};  // with holders of state, and for the daemon's word that they left
  mutable std::mutex announced_mutex_;
  mutable std::condition_variable announced_;
  // Guarded by announced_mutex_: the newest announced, the one in hand, and the one that it follows.
  GroupEpoch urgent_epoch_, planned_epoch_, current_epoch_, followed_epoch_;
  bool follows_ = false, warm_ = false;  // likewise: it does now; it has said that it has caught up
};

}  // namespace seng
