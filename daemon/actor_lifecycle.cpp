#include "daemon/actor_lifecycle.h"

#include <csignal>

#include <fmt/format.h>

#include "protocol/base/error.h"

namespace seng {

using actor_action::Gone;
using actor_action::Lost;
using actor_action::Signal;

std::string_view actor_state_name(ActorState state) {
  switch (state) {
    case ActorState::kSpawning:
      return "spawning";
    case ActorState::kConnected:
      return "connected";
    case ActorState::kPrepared:
      return "prepared";
    case ActorState::kReady:
      return "ready";
    case ActorState::kTraining:
      return "training";
    case ActorState::kFinished:
      return "finished";
    case ActorState::kStopping:
      return "stopping";
    case ActorState::kParting:
    case ActorState::kExited:
      return "exited";
  }
  return "";
}

ActorLifecycle::ActorLifecycle(const Timeouts& timeouts, double now)
    : timeouts_(timeouts), deadline_(now + timeouts.start_s()) {}

void ActorLifecycle::change_state(ActorState next, std::optional<double> deadline) {
  SENG_CHECK(state_ != ActorState::kExited, "an exited actor changed its state");
  state_ = next;
  deadline_ = deadline;
}

void ActorLifecycle::lose(Lost::Why why, std::string message, Actions& out) {
  if (lost_ || finished_ || unwanted_) return;
  lost_ = true;
  out.push_back(Lost{why, std::move(message)});
}

void ActorLifecycle::terminate(double now, Actions& out) {
  unwanted_ = true;
  if (state_ == ActorState::kParting) {
    change_state(ActorState::kExited, std::nullopt);
    out.push_back(Gone{});
    return;
  }
  if (state_ == ActorState::kStopping) return;
  change_state(ActorState::kStopping, now + timeouts_.terminate_s());
  out.push_back(Signal{SIGTERM});
}

void ActorLifecycle::on_exit(const ExitStatus& status, double now, Actions& out) {
  if (exit_) return;
  exit_ = status;
  if (!status.signalled && !finished_ && !lost_ && !unwanted_) {
    change_state(ActorState::kParting, now + timeouts_.last_word_s());
    return;
  }
  lose(Lost::Why::kExited, "", out);
  change_state(ActorState::kExited, std::nullopt);
  out.push_back(Gone{});
}

void ActorLifecycle::on_timeout(double now, Actions& out) {
  if (!deadline_ || now < *deadline_) return;
  switch (state_) {
    case ActorState::kSpawning:
      lose(Lost::Why::kSilent, fmt::format("did not report within {:g} s of its start", timeouts_.start_s()),
           out);
      terminate(now, out);
      return;
    case ActorState::kConnected:
      lose(Lost::Why::kSilent, fmt::format("did not load its data within {:g} s", timeouts_.prepare_s()),
           out);
      terminate(now, out);
      return;
    case ActorState::kFinished:
    case ActorState::kStopping:
      // Killing is asked once; a process that even then does not go is stuck in the kernel and holds its
      // slot.
      unwanted_ = true;
      change_state(ActorState::kStopping, std::nullopt);
      out.push_back(Signal{SIGKILL});
      return;
    case ActorState::kParting:
      lose(Lost::Why::kExited, "", out);
      change_state(ActorState::kExited, std::nullopt);
      out.push_back(Gone{});
      return;
    default:
      return;
  }
}

bool ActorLifecycle::prepared() const {
  return state_ == ActorState::kPrepared || state_ == ActorState::kReady || state_ == ActorState::kTraining;
}

bool ActorLifecycle::serves() const {
  return prepared() || state_ == ActorState::kSpawning || state_ == ActorState::kConnected;
}

void ActorLifecycle::on_failed(const std::string& message, double now, Actions& out) {
  if (finished_) return;
  lose(Lost::Why::kSaidSo, message, out);
  if (state_ == ActorState::kParting) {
    change_state(ActorState::kExited, std::nullopt);
    out.push_back(Gone{});
  } else if (state_ != ActorState::kStopping) {
    // It is about to exit by itself, with its last line in the log.
    change_state(ActorState::kStopping, now + timeouts_.terminate_s());
  }
}

// The daemon wants it gone, in one of three ways.
void ActorLifecycle::on_leave(const ActorEventIn& event, double now, Actions& out) {
  const bool kill = std::holds_alternative<actor_event::Kill>(event);
  const bool retired = std::holds_alternative<actor_event::Retired>(event);
  if (state_ == ActorState::kParting || (!kill && !retired)) return terminate(now, out);
  unwanted_ = true;
  if (kill) {
    change_state(ActorState::kStopping, std::nullopt);
    out.push_back(Signal{SIGKILL});
  } else if (serves()) {
    change_state(ActorState::kStopping, now + timeouts_.linger_s());
  }
}

std::vector<ActorAction> ActorLifecycle::on(const ActorEventIn& event, double now) {
  namespace e = actor_event;
  Actions out;
  if (state_ == ActorState::kExited) return out;
  const bool member = prepared() || state_ == ActorState::kConnected;
  if (std::holds_alternative<e::Hello>(event)) {
    if (state_ == ActorState::kSpawning) change_state(ActorState::kConnected, now + timeouts_.prepare_s());
  } else if (std::holds_alternative<e::Prepared>(event)) {
    if (state_ == ActorState::kConnected) change_state(ActorState::kPrepared, std::nullopt);
  } else if (std::holds_alternative<e::Reconfigured>(event)) {
    if (prepared()) change_state(ActorState::kPrepared, std::nullopt);
  } else if (std::holds_alternative<e::Ready>(event)) {
    if (state_ == ActorState::kPrepared) change_state(ActorState::kReady, std::nullopt);
  } else if (std::holds_alternative<e::Resumed>(event)) {
    if (state_ == ActorState::kReady) change_state(ActorState::kTraining, std::nullopt);
  } else if (std::holds_alternative<e::Finished>(event)) {
    if (lost_ || (!member && state_ != ActorState::kParting && state_ != ActorState::kStopping)) return out;
    finished_ = true;
    if (member) change_state(ActorState::kFinished, now + timeouts_.linger_s());
    if (state_ == ActorState::kParting) {
      change_state(ActorState::kExited, std::nullopt);
      out.push_back(Gone{});
    }
  } else if (const auto* failed = std::get_if<e::Failed>(&event)) {
    on_failed(failed->message, now, out);
  } else if (const auto* exited = std::get_if<e::Exited>(&event)) {
    on_exit(exited->status, now, out);
  } else if (std::holds_alternative<e::Timeout>(event)) {
    on_timeout(now, out);
  } else if (std::holds_alternative<e::Waits>(event)) {
    if (state_ == ActorState::kConnected) deadline_ = now + timeouts_.prepare_s();
  } else {
    on_leave(event, now, out);
  }
  return out;
}

}  // namespace seng
