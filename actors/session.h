// The actor's side of the conversation with sengd (protocol/messages/lifecycle.h). Owns the socket and a
// thread; sends heartbeats by itself, so that a long step is not mistaken for a hang, and carries the counter
// that tells the two apart. To a daemon that was started anew it says hello again by itself, the last steps,
// and what it has reported as the leader. While no daemon takes anything heartbeats are left out; everything
// else waits.
//
// Threads: all methods may be called from any thread; wait() from one.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "actors/gauges.h"
#include "protocol/base/error.h"
#include "protocol/messages/control.h"
#include "protocol/messages/lifecycle.h"
#include "protocol/messages/tuning.h"

namespace seng {

// What the daemon asks, as the driver takes it; ErrorReply: it will not have this actor. `epoch` is the
// membership that it belongs to.
struct Command {
  GroupEpoch epoch;
  std::variant<Welcome, Reconfigure, Assign, Resume, Retire, StopTraining, WarmUp, Tune, TakeChoices,
               ErrorReply>
      body;
};

struct SessionOptions {
  std::string daemon_endpoint;
  JobId job = 0;
  ActorId actor = 0;
  ActorHello hello;
};

class Session {
 public:
  explicit Session(SessionOptions options);
  ~Session();  // sends what is queued (bounded wait), then closes

  // Connects and says hello. Error: the endpoint is unusable.
  Status start();

  // Called on the session's thread when a command arrives that ends the membership in hand (Reconfigure,
  // Retire, ErrorReply, WarmUp for one who was left out of the group), before it can be taken. `follows`: the
  // change is planned, and whoever is in that membership finishes a step first. `epoch`: the membership that
  // comes; the greatest there is where none does. What it captures must outlive the session or be replaced
  // before it goes.
  void on_urgent(std::function<void(GroupEpoch epoch, std::optional<GroupEpoch> follows)> callback);

  // Called on the session's thread when a command has arrived. As on_urgent().
  void on_command(std::function<void()> callback);

  Command wait();
  bool has_command() const;
  // The newest WarmUp that asks this actor, as a member, to serve newcomers; once. Is no Command: training
  // does not stop for it.
  std::optional<std::pair<GroupEpoch, WarmUp>> take_warm_up();
  bool stop_requested() const;  // a StopTraining has come (it is also a Command)

  // For the heartbeats.
  Gauges& gauges();
  // Whose parts the step in hand waits for; asked on the session's thread. As on_urgent().
  void on_awaits(std::function<std::vector<ActorId>()> callback);
  void set_applied_step(std::uint64_t step);
  void set_epoch(GroupEpoch epoch);  // of what is sent from here on
  // Adds the step's traffic to this actor's; `leads`: the metrics are the group's word on it.
  void add_step(const StepMetrics& metrics, bool leads);
  // What is still to be reported of steps goes now, as a word of the membership in hand.
  void tell_steps();
  void forget_steps();  // they will be made again, or were by others, and reported
  // Of a step that others have made: not reported, unless the last steps are. Nothing, if it is not known.
  void keep_step(const StepMetrics& metrics);
  // The group goes on from `step`: what is still to be reported of later ones was left, or is made again.
  // `metrics`: that step's own, if they are known. What is known of the last steps behind `told`, which the
  // daemon has not heard of, goes now: who was to report it may be gone.
  void go_on_from(std::uint64_t step, const StepMetrics& metrics, std::uint64_t told);
  // The next heartbeat comes now.
  void report_soon();
  void set_lease(std::uint32_t lease_ms);

  void send(const Prepared& body);
  void send(const Tuned& body);
  void send(const Parked& body);
  void send(const Ready& body);
  void send(const StateLost& body);
  void send(const WarmedUp& body);
  void send(const EpochReport& body);
  void send(const CheckpointReport& body, GroupEpoch of);  // `of`: the membership that wrote it
  void send(const Finished& body);
  void send(const ActorFailed& body);
  void send(const ActorEvent& body);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace seng
