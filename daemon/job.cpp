#include "daemon/job.h"

#include <utility>

#include "protocol/base/error.h"

namespace seng {

using job_action::AskToStop;
using job_action::EndActors;
using job_action::RetireActors;
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

void Job::on_event(const job_event::Granted&, Actions& out) {
  if (state_ == JobState::kQueued) change_state(JobState::kStarting, "", out);
}

void Job::on_event(const job_event::Trains&, Actions& out) {
  if (state_ == JobState::kStarting) change_state(JobState::kRunning, "", out);
}

void Job::end_stopped(const std::string& reason, Actions& out) {
  const bool requeue = std::exchange(requeue_, false);
  change_state(requeue ? JobState::kQueued : JobState::kStopped, reason, out);
  stop_reason_.clear();
}

void Job::on_event(const job_event::Finished& event, Actions& out) {
  if (state_ != JobState::kRunning) return;
  if (!event.failure.empty()) {
    change_state(JobState::kFailed, event.failure, out);
  } else if (event.stopped) {
    end_stopped(stop_reason_.empty() ? "the actors stopped" : stop_reason_, out);
  } else {
    change_state(JobState::kSucceeded, "", out);
  }
  out.push_back(RetireActors{});
}

void Job::on_event(const job_event::GivenUp& event, Actions& out) {
  if (state_ == JobState::kQueued) return;
  change_state(JobState::kFailed, event.reason, out);
  out.push_back(EndActors{});
}

void Job::on_event(const job_event::StopAsked& event, Actions& out) {
  if (state_ == JobState::kRunning) {
    // Who stops a job while the daemon stops wants it stopped.
    const bool first = stop_reason_.empty(), final = requeue_ && !event.requeue;
    if (!first && !final) return;
    stop_reason_ = event.reason;
    requeue_ = event.requeue;
    out.push_back(StateChanged{state_, state_, Severity::kInfo, "Stopping", event.reason});
    if (first) out.push_back(AskToStop{event.reason});
    return;
  }
  const bool has_actors = state_ == JobState::kStarting;
  if (!has_actors && event.requeue) return;
  requeue_ = event.requeue;
  end_stopped(event.reason, out);
  if (has_actors) out.push_back(EndActors{});
}

void Job::on_event(const job_event::StopTimedOut& event, Actions& out) {
  if (state_ != JobState::kRunning || stop_reason_.empty()) return;
  end_stopped(stop_reason_ + "; " + event.why, out);
  out.push_back(EndActors{});
}

}  // namespace seng
