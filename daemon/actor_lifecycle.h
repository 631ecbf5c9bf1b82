// The life of one actor process, from fork to exit. Pure: told what happened and when, it says what to do.
//
//            1 Hello            2 Prepared          3 Ready          4 Resumed            5 Finished
//   spawning ------> connected ---------> prepared ------> ready ----------> training ----------> finished
//      |                 |                 ^  |  ^           |                  |                    |
//      |                 |                 |  |  +-----------+---6 Reconfigured-+                    |
//      |                 |                 +--+                                                      |
//      |  7 Failed, Retired, Terminate, Kill, or the deadline of the state passed: from every state  |
//      +-------------------------------> stopping <-------------------------------------------------+
//      |  8 Exited without a last word that could still be on its way                                |
//      +-------------------------------> parting                                                     |
//      |  9 Exited                          | 10 the last word came, or the time for it              |
//      +-------------------------------> exited <----------------------------------------------------+
//
// 1 The process proved by its token that it is ours. It has `start_s` for that.
// 2 It has loaded data and network and can join a membership. It has `prepare_s` for that.
// 3 It holds the state of its membership's base step (every epoch again).
// 4 The whole group may train.
// 5 Its part of the job is done. It exits by itself within `linger_s`, else it is killed.
// 6 The next membership was announced.
// 7 A Failed tells why the job lost it; it is about to exit. Retired: it was told by message that the group
//   goes on without it, and has `linger_s`. Terminate: SIGTERM, and SIGKILL after `terminate_s`. Kill:
//   SIGKILL at once, for one that hangs.
// 8 Its exit was seen first, but bytes that it wrote before may still lie in the socket: for `last_word_s`
// its
//   Finished or Failed is waited for. Not after a signal, which leaves no last word.
// 9 From finished, stopping, or by a signal.
// 10 Without a Finished the actor counts as lost. Or the daemon wants it gone and needs no word.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "daemon/exit_status.h"
#include "daemon/timeouts.h"

namespace seng {

enum class ActorState {
  kSpawning,
  kConnected,
  kPrepared,
  kReady,
  kTraining,
  kFinished,
  kStopping,
  kParting,
  kExited,
};
std::string_view actor_state_name(ActorState state);  // "spawning"

namespace actor_event {
struct Hello {};
struct Prepared {};
struct Reconfigured {};
struct Ready {};
struct Resumed {};
struct Finished {};
struct Failed {
  std::string message;
};
struct Exited {
  ExitStatus status;
};
struct Retired {};    // it was told to finish: the group goes on without it
struct Terminate {};  // the daemon wants it gone
struct Kill {};       // likewise, and it would not listen
struct Timeout {};    // the deadline has passed
struct Waits {};      // what it has to do is not known yet: the time for its preparation begins now
}  // namespace actor_event

using ActorEventIn =
    std::variant<actor_event::Hello, actor_event::Prepared, actor_event::Reconfigured, actor_event::Ready,
                 actor_event::Resumed, actor_event::Finished, actor_event::Failed, actor_event::Exited,
                 actor_event::Retired, actor_event::Terminate, actor_event::Kill, actor_event::Timeout,
                 actor_event::Waits>;

namespace actor_action {
struct Signal {
  int number = 0;
};
// The job has lost it before it finished, and not because the daemon ended it. At most once.
struct Lost {
  enum class Why { kSaidSo, kExited, kSilent } why = Why::kExited;
  std::string message;  // kSaidSo: its words; kSilent: what it did not do in time
};
// The process is gone and its slot is free. Exactly once, the last action.
struct Gone {};
}  // namespace actor_action

using ActorAction = std::variant<actor_action::Signal, actor_action::Lost, actor_action::Gone>;

class ActorLifecycle {
 public:
  // `now` is the time of the spawn, in seconds of any clock that never goes back.
  ActorLifecycle(const Timeouts& timeouts, double now);

  // Events that the state does not know are ignored: peers' messages may come late or twice.
  std::vector<ActorAction> on(const ActorEventIn& event, double now);

  ActorState state() const { return state_; }
  bool alive() const { return state_ != ActorState::kExited && state_ != ActorState::kParting; }
  bool finished() const { return finished_; }
  // It is of use to a group, now or once it is prepared.
  bool serves() const;
  // It can be named in a membership.
  bool prepared() const;
  const std::optional<ExitStatus>& exit_status() const { return exit_; }
  // When a Timeout is due, if nothing else happens before.
  std::optional<double> deadline() const { return deadline_; }

 private:
  using Actions = std::vector<ActorAction>;
  void change_state(ActorState next, std::optional<double> deadline);
  void terminate(double now, Actions& out);
  void lose(actor_action::Lost::Why why, std::string message, Actions& out);
  void on_exit(const ExitStatus& status, double now, Actions& out);
  void on_timeout(double now, Actions& out);
  void on_failed(const std::string& message, double now, Actions& out);
  void on_leave(const ActorEventIn& event, double now, Actions& out);

  Timeouts timeouts_;
  ActorState state_ = ActorState::kSpawning;
  std::optional<double> deadline_;
  std::optional<ExitStatus> exit_;
  bool finished_ = false;
  bool lost_ = false;      // said so already
  bool unwanted_ = false;  // the daemon ended it: its exit is no loss
};

}  // namespace seng
