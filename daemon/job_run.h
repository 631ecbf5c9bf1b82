// One job while it is not over: carries out what its pure parts (Job, GroupEpochs, an ActorLifecycle per
// actor) decide, and keeps its records. Belongs to the head.
//
// The seam for elastic membership: GroupEpochs takes a Begin with other members at any time; here the only
// Begin is that of the first membership, and on_lost() ends the job instead of asking for the next one.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "daemon/actor_lifecycle.h"
#include "daemon/group_epoch.h"
#include "daemon/head_context.h"
#include "daemon/job.h"
#include "daemon/job_plan.h"
#include "daemon/job_progress.h"
#include "daemon/scheduler.h"

namespace seng {

class JobRun {
 public:
  struct Observer {
    std::function<void(JobId)> record_changed;  // its revision grew
    std::function<void()> slots_freed;
    std::function<void()> flush_soon;  // something happened that a restarted daemon must know
  };

  // All arguments but `record`, `plan` and `spec_yaml` outlive it.
  JobRun(const HeadOptions& options, const HeadPorts& ports, Liveness& liveness, const Observer& observer,
         JobRecord record, JobPlan plan, std::string spec_yaml);

  const JobRecord& record() const { return record_; }
  const JobPlan& plan() const { return plan_; }
  // One actor on each; queued jobs only.
  void grant(const std::vector<std::uint32_t>& slots);
  void set_waiting(const std::string& why);
  void stop(const std::string& reason);
  // Ends what has not stopped, without waiting for its checkpoint.
  void stop_now();

  // The hello of an actor; the error goes back to it. The envelope of all other messages is fenced here.
  Result<Welcome> on_hello(ActorId actor, const ActorHello& hello);
  // The Welcome is on its way: what follows from the hello may be sent behind it.
  void welcomed() { drain(); }
  void on_message(ActorId actor, const Message& message);
  void on_time();
  std::optional<double> deadline() const;
  void on_lease(ActorId actor, const Liveness::Finding& finding);

  bool over() const;                   // its state is terminal and all its processes are gone
  std::vector<SlotUse> slots() const;  // that its processes hold
  ActorId actor_on(std::uint32_t slot) const;
  std::vector<ActorRecord> actors() const;

 private:
  struct Actor {
    Actor(const Timeouts& timeouts, double now) : life(timeouts, now) {}
    ActorLifecycle life;
    ActorRecord record;
    std::string token;
    std::uint64_t start_time_ticks = 0;
  };

  void tell(ActorId actor, const ActorEventIn& event);
  void tell_job(const JobEventIn& event);
  void tell_group(const EpochEvent& event);
  void drain();
  void act(const job_action::SpawnActors& action);
  void act(const job_action::AskToStop& action);
  void act(const job_action::EndActors& action);
  void act(const job_action::StateChanged& action);
  void act(const epoch_action::Persist& action);
  void act(const epoch_action::Announce& action);
  void act(const epoch_action::AssignAll& action);
  void act(const epoch_action::ResumeAll& action);
  void act(ActorId actor, const actor_action::Signal& action);
  void act(ActorId actor, const actor_action::Lost& action);
  void act(ActorId actor, const actor_action::Gone& action);

  Status start_process(ActorId actor, Actor& a);
  void on_end(ActorId actor, const ProcessEnd& end);
  void begin_first_epoch();
  void store_epoch();
  template <class Body>
  void take(ActorId actor, const Message& message);
  bool fenced(ActorId actor, const Message& message) const;
  void on_body(ActorId actor, const Message& message, const Parked& body);
  void on_body(ActorId actor, const Message& message, const Ready& body);
  void on_body(ActorId actor, const Message& message, const Progress& body);
  void on_body(ActorId actor, const Message& message, const EpochReport& body);
  void on_body(ActorId actor, const Message& message, const CheckpointReport& body);
  void on_body(ActorId actor, const Message& message, const Finished& body);
  void on_body(ActorId actor, const Message& message, const ActorFailed& body);
  void on_body(ActorId actor, const Message& message, const ActorEvent& body);

  template <class Body>
  void send_to_members(const Body& body);
  void event(Severity severity, std::string_view kind, std::string text, ActorId actor = kNoActor);
  void changed();
  void save(ActorId actor);
  std::string loss_text(ActorId actor, const actor_action::Lost& loss) const;
  bool leads(ActorId actor) const;

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
  JobProgress progress_;
  std::map<ActorId, Actor> actors_;
  std::vector<std::uint32_t> granted_slots_;
  std::optional<double> stop_deadline_;
  std::optional<double> epoch_retry_;  // when the epoch, which could not be stored, is tried again
  bool epoch_waits_ = false;           // said so
  std::deque<std::function<void()>> pending_;
  bool draining_ = false;
};

}  // namespace seng
