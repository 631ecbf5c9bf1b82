// A job's state, from submission to its end. Pure.
//
//                    1 Granted               2 Trains               3 the leader Finished
//   queued --------------------> starting --------------> running -------------------> succeeded
//     ^ |                           |  |                    |  |
//     | |                           |  +--------------------+--+------4 GivenUp--------> failed
//     | | 5 StopAsked               | 6 StopAsked           | 7 Finished, stopped
//     | |                           |                       | 8 StopTimedOut
//     | +---------------------------+-----------------------+--------------------------> stopped
//     +-----------------------------+-----------------------+ 9 likewise, to go on later
//
// 1 The scheduler gave it slots; its actors are spawned.
// 2 The first membership resumed: every actor holds the state and trains. Memberships come and go after that
//   without a change of this state.
// 3 The leader did the last step and wrote what is to be written; the others are retired.
// 4 Its policy (membership_policy.h) sees no way to go on, and says why. Or the leader Finished with a
// failure. 5 Nothing has run: at once. 6 Nothing was trained: at once, the actors are ended. 7 A running job
// is asked by StopTraining, commits its step, writes a checkpoint and finishes as "stopped". 8 It did not
// within its time: its actors are ended, and the newest checkpoint is the one before. 9 The daemon stops, not
// the job: it waits in the queue for the next daemon.
//
// Terminal states are final: whatever comes after is ignored.
#pragma once

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "protocol/base/ids.h"
#include "protocol/messages/records.h"

namespace seng {

namespace job_event {
struct Granted {};
struct Trains {};
// The leader's word.
struct Finished {
  bool stopped = false;
  std::string failure = "";  // not empty: training is at its end, and has failed
};
struct GivenUp {
  std::string reason;
};
struct StopAsked {
  std::string reason;    // "stopped by the user"
  bool requeue = false;  // it is to go on later
};
struct StopTimedOut {
  std::string why = "its actors did not finish their step in time and were ended";
};
}  // namespace job_event

using JobEventIn = std::variant<job_event::Granted, job_event::Trains, job_event::Finished,
                                job_event::GivenUp, job_event::StopAsked, job_event::StopTimedOut>;

namespace job_action {
// StopTraining to every member; a StopTimedOut is due if they do not finish in time.
struct AskToStop {
  std::string reason;
};
// The others of the leader that finished.
struct RetireActors {};
struct EndActors {};
// The record's state and reason are to follow; an event of this kind is to be written.
struct StateChanged {
  JobState from = JobState::kQueued, to = JobState::kQueued;
  Severity severity = Severity::kInfo;
  std::string_view event_kind;  // Queued | Starting | Running | Succeeded | Failed | Stopped | Stopping
  std::string reason;
};
}  // namespace job_action

using JobAction = std::variant<job_action::AskToStop, job_action::RetireActors, job_action::EndActors,
                               job_action::StateChanged>;

class Job {
 public:
  explicit Job(JobState state = JobState::kQueued) : state_(state) {}

  // Events that the state does not know are ignored.
  std::vector<JobAction> on(const JobEventIn& event);

  JobState state() const { return state_; }
  bool runs() const { return state_ == JobState::kStarting || state_ == JobState::kRunning; }
  bool stopping() const { return runs() && !stop_reason_.empty(); }
  const std::string& stop_reason() const { return stop_reason_; }

 private:
  using Actions = std::vector<JobAction>;
  void change_state(JobState next, const std::string& reason, Actions& out);
  void end_stopped(const std::string& reason, Actions& out);
  void on_event(const job_event::Granted& event, Actions& out);
  void on_event(const job_event::Trains& event, Actions& out);
  void on_event(const job_event::Finished& event, Actions& out);
  void on_event(const job_event::GivenUp& event, Actions& out);
  void on_event(const job_event::StopAsked& event, Actions& out);
  void on_event(const job_event::StopTimedOut& event, Actions& out);

  JobState state_;
  std::string stop_reason_;  // not empty: StopAsked came
  bool requeue_ = false;     // the stop is the daemon's
};

}  // namespace seng
