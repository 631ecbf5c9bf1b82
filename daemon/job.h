// A job's state, from submission to its end. Pure.
//
//                    1 Granted               2 Trains                3 all Finished
//   queued --------------------> starting --------------> running -------------------> succeeded
//      |                            |  |                    |  |
//      |                            |  +--------------------+--+------4 Lost-----------> failed
//      | 5 StopAsked                | 6 StopAsked           | 7 all Finished, stopped
//      |                            |                       | 8 StopTimedOut
//      +----------------------------+-----------------------+--------------------------> stopped
//
// 1 The scheduler gave it slots; its actors are to be spawned.
// 2 The first membership resumed: every actor holds the state and trains.
// 3 Every member said Finished, none of them "stopped".
// 4 A member ended before it finished. The first such report is the reason; the others are ended.
//   Also for every job that a daemon finds running when it starts, see recovery.h.
// 5 Nothing has run: at once.
// 6 Nothing was trained: at once, the actors are ended.
// 7 A running job is asked by StopTraining, commits its step, writes a checkpoint and finishes as "stopped".
// 8 It did not within its time: its actors are ended, and the newest checkpoint is the one before.
//
// Terminal states are final: whatever comes after is ignored.
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "protocol/base/ids.h"
#include "protocol/messages/records.h"

namespace seng {

namespace job_event {
struct Granted {
  std::vector<ActorId> members;  // not empty; the first is the leader
};
struct Trains {};
struct Finished {
  ActorId actor = kNoActor;
  bool stopped = false;
};
struct Lost {
  ActorId actor = kNoActor;
  std::string reason;
};
struct StopAsked {
  std::string reason;  // "stopped by the user"
};
struct StopTimedOut {};
// Found in the store by a new daemon, without its actors.
struct Abandoned {
  std::string reason;
};
}  // namespace job_event

using JobEventIn = std::variant<job_event::Granted, job_event::Trains, job_event::Finished, job_event::Lost,
                                job_event::StopAsked, job_event::StopTimedOut, job_event::Abandoned>;

namespace job_action {
struct SpawnActors {
  std::vector<ActorId> members;
};
// StopTraining to every member; a StopTimedOut is due if they do not finish in time.
struct AskToStop {
  std::string reason;
};
struct EndActors {};
// The record's state and reason are to follow; an event of this kind is to be written.
struct StateChanged {
  JobState from = JobState::kQueued, to = JobState::kQueued;
  Severity severity = Severity::kInfo;
  std::string_view event_kind;  // Starting | Running | Succeeded | Failed | Stopped | Stopping
  std::string reason;
};
}  // namespace job_action

using JobAction = std::variant<job_action::SpawnActors, job_action::AskToStop, job_action::EndActors,
                               job_action::StateChanged>;

class Job {
 public:
  explicit Job(JobState state = JobState::kQueued) : state_(state) {}

  // Events that the state does not know are ignored.
  std::vector<JobAction> on(const JobEventIn& event);

  JobState state() const { return state_; }
  bool stopping() const { return !is_terminal(state_) && !stop_reason_.empty(); }

 private:
  using Actions = std::vector<JobAction>;
  void change_state(JobState next, const std::string& reason, Actions& out);
  void on_event(const job_event::Granted& event, Actions& out);
  void on_event(const job_event::Trains& event, Actions& out);
  void on_event(const job_event::Finished& event, Actions& out);
  void on_event(const job_event::Lost& event, Actions& out);
  void on_event(const job_event::StopAsked& event, Actions& out);
  void on_event(const job_event::StopTimedOut& event, Actions& out);
  void on_event(const job_event::Abandoned& event, Actions& out);

  JobState state_;
  std::set<ActorId> members_, finished_;
  bool stopped_early_ = false;  // a member's Finished said so
  std::string stop_reason_;     // not empty: StopAsked came
};

}  // namespace seng
