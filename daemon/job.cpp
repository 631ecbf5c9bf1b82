#include "daemon/job.h"

#include "protocol/base/error.h"

namespace seng {

using job_action::AskToStop;
using job_action::EndActors;
using job_action::SpawnActors;
using job_action::StateChanged;

void Job::change_state(JobState next, const std::string& reason, Actions& out) {
  SENG_CHECK(!is_terminal(state_), "a job that had ended changed its state");
  StateChanged change{state_, next, Severity::kInfo, "", reason};
  switch (next) {
    case JobState::kQueued:
      change.event_kind = "Queued";
      break;
    case JobState::kStarting:
      change.event_kind = "Starting";
      break;
    case JobState::kRunning:
      change.event_kind = "Running";
      break;
    case JobState::kSucceeded:
      change.event_kind = "Succeeded";
      break;
    case JobState::kFailed:
      change.event_kind = "Failed";
      change.severity = Severity::kError;
      break;
    case JobState::kStopped:
      change.event_kind = "Stopped";
      break;
  }
  state_ = next;
  out.push_back(std::move(change));
}

std::vector<JobAction> Job::on(const JobEventIn& event) {
  Actions out;
  if (is_terminal(state_)) return out;
  std::visit([&](const auto& e) { on_event(e, out); }, event);
  return out;
}

void Job::on_event(const job_event::Granted& event, Actions& out) {
  if (state_ != JobState::kQueued) return;
  members_ = {event.members.begin(), event.members.end()};
  SENG_CHECK(!members_.empty() && members_.size() == event.members.size(), "members of a job");
  change_state(JobState::kStarting, "", out);
  out.push_back(SpawnActors{event.members});
}

void Job::on_event(const job_event::Trains&, Actions& out) {
  if (state_ == JobState::kStarting) change_state(JobState::kRunning, "", out);
}

void Job::on_event(const job_event::Finished& event, Actions& out) {
  if (state_ != JobState::kRunning || !members_.contains(event.actor)) return;
  if (!finished_.insert(event.actor).second) return;
  stopped_early_ = stopped_early_ || event.stopped;
  if (finished_.size() < members_.size()) return;
  if (stopped_early_) {
    change_state(JobState::kStopped, stop_reason_.empty() ? "the actors stopped" : stop_reason_, out);
  } else {
    change_state(JobState::kSucceeded, "", out);
  }
}

void Job::on_event(const job_event::Lost& event, Actions& out) {
  if (state_ == JobState::kQueued || !members_.contains(event.actor)) return;
  change_state(JobState::kFailed, event.reason, out);
  out.push_back(EndActors{});
}

void Job::on_event(const job_event::StopAsked& event, Actions& out) {
  if (state_ == JobState::kRunning) {
    if (!stop_reason_.empty()) return;
    stop_reason_ = event.reason;
    out.push_back(StateChanged{state_, state_, Severity::kInfo, "Stopping", event.reason});
    out.push_back(AskToStop{event.reason});
    return;
  }
  const bool has_actors = state_ == JobState::kStarting;
  change_state(JobState::kStopped, event.reason, out);
  if (has_actors) out.push_back(EndActors{});
}

void Job::on_event(const job_event::StopTimedOut&, Actions& out) {
  if (state_ != JobState::kRunning || stop_reason_.empty()) return;
  change_state(JobState::kStopped,
               stop_reason_ + "; its actors did not finish their step in time and were ended", out);
  out.push_back(EndActors{});
}

void Job::on_event(const job_event::Abandoned& event, Actions& out) {
  if (state_ == JobState::kQueued) return;
  change_state(JobState::kFailed, event.reason, out);
}

}  // namespace seng
