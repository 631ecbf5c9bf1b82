// One job while it is not over: carries out what its pure parts (Job, GroupEpochs, MembershipPolicy, Stall,
// an ActorLifecycle per actor) decide, and keeps its records. Belongs to the head.
//
// What happens is told to the parts as it happens; what follows for the membership is decided in steer(),
// which the head calls when all that has happened by then is known.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "daemon/group_epoch.h"
#include "daemon/head_context.h"
#include "daemon/job.h"
#include "daemon/job_actor.h"
#include "daemon/job_plan.h"
#include "daemon/job_progress.h"
#include "daemon/last_checkpoint.h"
#include "daemon/membership_policy.h"
#include "daemon/scheduler.h"
#include "daemon/speed.h"
#include "daemon/stall.h"
#include "daemon/step_tellers.h"
#include "daemon/tuning.h"
#include "daemon/warm_up.h"

namespace seng {

class JobRun {
 public:
  struct Observer {
    std::function<void(JobId)> record_changed;  // its revision grew
    std::function<void()> slots_freed;          // or something else that the scheduler looks at
    std::function<void()> flush_soon;           // something happened that a restarted daemon must know
  };

  // All arguments but `record`, `plan` and `spec_yaml` outlive it.
  JobRun(const HeadOptions& options, const HeadPorts& ports, Liveness& liveness, const Observer& observer,
         JobRecord record, JobPlan plan, std::string spec_yaml);

  // What a daemon before this one left, once and first; `epochs`, oldest first, if the job ran: its processes
  // are taken over.
  void take_over(const std::vector<StoredActor>& actors, const std::vector<StoredEpoch>& epochs);

  const JobRecord& record() const { return record_; }
  const JobPlan& plan() const { return plan_; }
  JobDemand demand() const;
  // One actor is started on each.
  void grant(const std::vector<std::uint32_t>& slots);
  void set_waiting(const std::string& why);
  // At most so many actors for now, because job `waiting` needs the slots.
  void set_limit(std::uint32_t actors, JobId waiting);
  void stop(const std::string& reason, bool requeue);
  // Back to the queue, with a checkpoint: job `waiting` has a higher priority.
  void preempt(JobId waiting);
  // Ends what has not stopped, without waiting for its checkpoint.
  void stop_now();
  // kInvalidArgument, kUnavailable: why not.
  Status scale(std::uint32_t actors);
  Status drain_actor(ActorId actor);

  // The hello of an actor; the error goes back to it. The envelope of all other messages is fenced here.
  Result<Welcome> on_hello(ActorId actor, const ActorHello& hello);
  // The Welcome is on its way: what follows from the hello may be sent behind it.
  void welcomed() { drain(); }
  void on_message(ActorId actor, const Message& message);
  void on_time();
  // Changes the membership if that follows from what has happened.
  void steer();
  bool calm() const;  // see Head
  std::optional<double> deadline() const;
  void on_lease(ActorId actor, const Liveness::Finding& finding);

  bool knows(ActorId actor) const;     // it has started it, and it has not ended
  bool over() const;                   // its state is terminal and all its processes are gone
  bool idle() const;                   // it does not run and all its processes are gone
  std::vector<SlotUse> slots() const;  // that its processes hold
  ActorId actor_on(std::uint32_t slot) const;
  std::vector<ActorRecord> actors() const;
  // Why it trains with fewer actors than its max, for `describe`; empty if it does not.
  std::string shortfall() const;

 private:
  using Actor = JobActor;

  void tell(ActorId actor, const ActorEventIn& event);
  void tell_job(const JobEventIn& event);
  void tell_group(const EpochEvent& event);
  void drain();
  void act(const job_action::AskToStop& action);
  void act(const job_action::RetireActors& action);
  void act(const job_action::EndActors& action);
  void act(const job_action::StateChanged& action);
  void act(const epoch_action::Persist& action);
  void act(const epoch_action::Announce& action);
  void act(const epoch_action::AssignAll& action);
  void act(const epoch_action::ResumeAll& action);
  void act(const epoch_action::RetireAll& action);
  void act(const membership_action::Begin& action);
  void act(const membership_action::WarmUp& action);
  void act(const membership_action::Dismiss& action);
  void act(const membership_action::Kill& action);
  void act(const membership_action::GiveUp& action);
  void act(const membership_action::StopNow& action);
  void act(const membership_action::Note& action);
  void act(ActorId actor, const actor_action::Signal& action);
  void act(ActorId actor, const actor_action::Lost& action);
  void act(ActorId actor, const actor_action::Gone& action);

  void spawn(std::uint32_t slot);
  Status start_process(ActorId actor, Actor& a);
  void on_end(ActorId actor, const ProcessEnd& end);
  bool adopt(const StoredActor& stored);
  void check_adopted();
  void end_adoption(bool training);
  void lose(ActorId actor, MembershipPolicy::Loss::Why why, const std::string& cause);
  void retire(ActorId actor);
  void stop_without_checkpoint();
  void store_epoch();
  void check_stalls();
  void expire_warm_ups();
  void tune();
  void store_tuning();
  void explain_wait();
  bool steered() const;
  GroupView view() const;
  std::vector<Member> to_members(const std::vector<ActorId>& actors) const;
  std::vector<Speed::Share> shares(const std::vector<Member>& members) const;
  std::string shares_text() const;
  template <class Body>
  void take(ActorId actor, const Message& message);
  bool fenced(ActorId actor, const Message& message) const;
  bool led(ActorId actor, const GroupEpoch& epoch) const { return tellers_.led(actor, epoch, group_); }
  void on_body(ActorId actor, const Message& message, const Prepared& body);
  void on_body(ActorId actor, const Message& message, const Parked& body);
  void on_body(ActorId actor, const Message& message, const Ready& body);
  void on_body(ActorId actor, const Message& message, const StateLost& body);
  void on_body(ActorId actor, const Message& message, const WarmedUp& body);
  void on_body(ActorId actor, const Message& message, const Tuned& body);
  void on_body(ActorId actor, const Message& message, const Progress& body);
  void on_body(ActorId actor, const Message& message, const EpochReport& body);
  void on_body(ActorId actor, const Message& message, const CheckpointReport& body);
  void on_failed_checkpoint(ActorId actor, const GroupEpoch& epoch, const CheckpointReport& body);
  void on_body(ActorId actor, const Message& message, const Finished& body);
  void on_body(ActorId actor, const Message& message, const ActorFailed& body);
  void on_body(ActorId actor, const Message& message, const ActorEvent& body);

  template <class Body>
  Message group_message(const Body& body) const {  // in the membership's name
    Envelope envelope;
    envelope.job = record_.id;
    envelope.epoch = group_.epoch();
    envelope.step = group_.base_step();
    return make_message(envelope, body);
  }
  template <class Body>
  void send_to(ActorId actor, const Body& body) {
    ports_.actors.send(record_.id, actor, group_message(body));
  }
  // Encoded once: a membership names everybody, to everybody.
  template <class Body>
  void send_to_group(const Body& body, bool leavers_too) {
    const Message all = group_message(body);
    for (const Member& m : group_.members()) ports_.actors.send(record_.id, m.actor, all);
    if (!leavers_too) return;
    for (const Member& m : group_.leavers()) ports_.actors.send(record_.id, m.actor, all);
  }
  void event(Severity severity, std::string_view kind, std::string text, ActorId actor = kNoActor);
  void changed();
  void save(ActorId actor);
  std::string loss_text(ActorId actor, const actor_action::Lost& loss) const;
  std::string requeue_text() const;

  const HeadOptions& options_;
  const HeadPorts& ports_;
  Liveness& liveness_;
  const Observer& observer_;
  JobRecord record_;
  JobPlan plan_;
  std::string spec_yaml_;
  std::string job_token_;
  Job job_;
  GroupEpochs group_;
  MembershipPolicy policy_;
  Stall stall_;
  WarmUps warm_ups_;
  Speed speed_;
  LastCheckpoint last_checkpoint_;
  Tuning tuning_;
  std::optional<TuningRecord> measured_;  // and not stored yet
  JobProgress progress_;
  std::map<ActorId, Actor> actors_;
  std::vector<ActorRecord> former_;  // of daemons before this one, which had ended by then
  ActorId next_actor_ = 0;
  std::optional<JobAdoption> adoption_;
  StepTellers tellers_;
  std::map<std::uint64_t, std::string> checkpoints_;  // state_sha256 of the newest, by step
  std::uint32_t limit_ = 0xffffffffu;
  JobId limited_for_ = 0;  // whose need the limit is
  std::string lacks_;      // what it would have more of, as the scheduler says it
  std::string preempted_;  // why it is in the queue again
  bool scaled_ = false;    // the user asked for a number: say why it is not reached
  bool quiet_ = false;     // nothing but heartbeats since steer() had nothing to do,
  double steered_at_ = 0;  // and when that was
  std::optional<double> stop_deadline_;
  std::optional<double> epoch_retry_;     // when the epoch, which could not be stored, is tried again
  std::optional<double> transition_due_;  // when who is still awaited counts as hung
  std::optional<double> policy_due_;
  std::optional<double> tuning_retry_;  // as epoch_retry_
  bool epoch_waits_ = false;            // said so
  bool tuning_waits_ = false;           // likewise
  std::deque<std::function<void()>> pending_;
  bool draining_ = false;
};

}  // namespace seng
