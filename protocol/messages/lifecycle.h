// sengd <-> seng-actor: one DEALER per actor to the daemon's ROUTER. The conversation of one membership:
//
//   actor: ActorHello                        (token proves that this daemon spawned it)
//   daemon: Welcome                          (the job)
//   daemon: Tune to one, actor: Tuned,
//   daemon: TakeChoices to all               (tuning.h; once in the life of a job that is tuned)
//   actor: Prepared                          data and network are there, sockets are bound
//   daemon: WarmUp to it and the members, actor: WarmedUp   where a group trains already: catches up with it
//   daemon: Reconfigure(e) to members and leavers   (persisted before it is sent)
//   actor: Parked(applied step, curvature held)     at once, or, if planned, after the leader's word
//   daemon: Assign(base step, who holds what)       when all have parked
//   actor: Ready                             holds the state of the base step, peers connected
//   daemon: Resume to members, Retire to leavers    when every member is ready
//   actor: Progress* EpochReport* CheckpointReport* ActorEvent*
//   actor: Finished or ActorFailed           the leader's Finished ends the job: Retire to all
//
// The envelope's epoch is the membership meant; what carries an older one is dropped. A daemon that was
// started anew answers what it hears from actors with HelloWanted; they say ActorHello again and go on.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "protocol/base/error.h"
#include "protocol/messages/kinds.h"
#include "protocol/messages/membership.h"
#include "protocol/messages/records.h"

namespace seng {

// What an actor's driver does, in ActorHello and Progress. A number, not an enum of the wire: later versions
// may add some.
enum Activity : std::uint8_t {
  kIdle = 0,       // in no membership, or parked in one
  kComputing = 1,  // its own work: the progress counter moves, or it hangs
  kWaiting = 2,    // for parts of others
  kSaving = 3,     // evaluates or writes a checkpoint
};

struct ActorHello {
  static constexpr MessageKind kKind = MessageKind::kActorHello;
  std::string token;
  std::string node;
  std::int64_t pid = 0;
  std::uint64_t start_time_ticks = 0;  // field 22 of /proc/PID/stat: with pid, names the process for ever
  std::string peer_endpoint;           // where other actors reach this one
  std::string device;
  std::uint32_t lanes = 1;
  std::string version;
  std::string state_endpoint;      // where other actors pull state from this one
  GroupEpoch epoch;                // the membership it is in; 0.0: none
  std::uint64_t applied_step = 0;  // of its state
  std::uint8_t activity = kIdle;   // an Activity
  LinkAbility link;
  template <class V>
  void visit(V& v) {
    v.field(1, "token", token);
    v.field(2, "node", node);
    v.field(3, "pid", pid);
    v.field(4, "start_time_ticks", start_time_ticks);
    v.field(5, "peer_endpoint", peer_endpoint);
    v.field(6, "device", device);
    v.field(7, "lanes", lanes);
    v.field(8, "version", version);
    v.field(9, "state_endpoint", state_endpoint);
    v.field(10, "epoch.incarnation", epoch.incarnation);
    v.field(11, "epoch.counter", epoch.counter);
    v.field(12, "applied_step", applied_step);
    v.field(13, "activity", activity);
    v.field(14, "link", link);
  }
};

struct Welcome {
  static constexpr MessageKind kKind = MessageKind::kWelcome;
  std::string spec_yaml;
  std::string job_dir;    // checkpoints/ and ledger files of the job go below it
  std::string job_token;  // shared by the job's actors: PeerHello carries it
  std::uint32_t lease_ms = 1000;
  std::string initial_sha256;   // what the job began with when it was planned; empty: its seed
  bool awaits_choices = false;  // it is Prepared only behind TakeChoices (tuning.h)
  template <class V>
  void visit(V& v) {
    v.field(1, "spec_yaml", spec_yaml);
    v.field(2, "job_dir", job_dir);
    v.field(3, "lease_ms", lease_ms);
    v.field(4, "job_token", job_token);
    v.field(5, "initial_sha256", initial_sha256);
    v.field(6, "awaits_choices", awaits_choices);
  }
};

// Behind Welcome: data and network are loaded, the sockets are bound. Before it an actor is no use to a
// group.
struct Prepared {
  static constexpr MessageKind kKind = MessageKind::kPrepared;
  template <class V>
  void visit(V&) {}
};

// From a daemon that does not know the connection (it was started anew): say ActorHello again.
struct HelloWanted {
  static constexpr MessageKind kKind = MessageKind::kHelloWanted;
  template <class V>
  void visit(V&) {}
};

// From every actor at least twice per lease; `steps` from the leader, from others those of Assign::told_step.
struct Progress {
  static constexpr MessageKind kKind = MessageKind::kProgress;
  std::uint64_t applied_step = 0;
  std::uint64_t counter =
      0;  // grows with every finished micro-batch or owner's task: stands still in a hung actor
  std::uint64_t memory_bytes = 0;
  std::vector<StepMetrics> steps;                         // since the report before
  std::uint64_t bytes_sent = 0, fragment_bytes_sent = 0;  // as in ActorRecord
  std::uint8_t activity = kIdle;                          // an Activity
  std::vector<ActorId> awaits;        // kWaiting: whose parts of the step are missing, this actor's left out
  std::uint64_t micro_batches = 0;    // computed since it started
  double compute_seconds = 0;         // that they took, all lanes together
  std::uint64_t curvature_bytes = 0;  // as in ActorRecord
  template <class V>
  void visit(V& v) {
    v.field(1, "applied_step", applied_step);
    v.field(2, "counter", counter);
    v.field(3, "memory_bytes", memory_bytes);
    v.field(4, "steps", steps);
    v.field(5, "bytes_sent", bytes_sent);
    v.field(6, "fragment_bytes_sent", fragment_bytes_sent);
    v.field(7, "activity", activity);
    v.field(8, "awaits", awaits);
    v.field(9, "micro_batches", micro_batches);
    v.field(10, "compute_seconds", compute_seconds);
    v.field(11, "curvature_bytes", curvature_bytes);
  }
};

struct EpochReport {  // leader only
  static constexpr MessageKind kKind = MessageKind::kEpochReport;
  EpochMetrics metrics;
  template <class V>
  void visit(V& v) {
    v.field(1, "metrics", metrics);
  }
};

struct CheckpointReport {  // leader only
  static constexpr MessageKind kKind = MessageKind::kCheckpointReport;
  std::uint64_t step = 0;
  std::string path;
  std::string weights_sha256, state_sha256;
  std::string error;  // not empty: it could not be written, and why
  template <class V>
  void visit(V& v) {
    v.field(1, "step", step);
    v.field(2, "path", path);
    v.field(3, "weights_sha256", weights_sha256);
    v.field(4, "state_sha256", state_sha256);
    v.field(5, "error", error);
  }
};

// The actor's last word when its part of the job is done; it exits 0 after the daemon has had time to read
// it.
struct Finished {
  static constexpr MessageKind kKind = MessageKind::kFinished;
  std::uint64_t step = 0;
  bool stopped = false;                      // by StopTraining, before the last step
  std::string weights_sha256, state_sha256;  // leader only
  bool retired = false;                      // by Retire: the job goes on, or another has finished it
  std::string failure = "";                  // leader only: the job fails, and why; empty: it does not
  template <class V>
  void visit(V& v) {
    v.field(1, "step", step);
    v.field(2, "stopped", stopped);
    v.field(3, "weights_sha256", weights_sha256);
    v.field(4, "state_sha256", state_sha256);
    v.field(5, "retired", retired);
    v.field(6, "failure", failure);
  }
};

struct ActorFailed {
  static constexpr MessageKind kKind = MessageKind::kActorFailed;
  ErrorCode code = ErrorCode::kInternal;
  std::string message;
  bool in_vain = false;  // any other actor of this job would fail alike: its data is damaged
  template <class V>
  void visit(V& v) {
    v.field(1, "code", code);
    v.field(2, "message", message);
    v.field(3, "in_vain", in_vain);
  }
};

// Commit the step in flight, write a checkpoint, finish. Sent to every member; the leader decides the step.
struct StopTraining {
  static constexpr MessageKind kKind = MessageKind::kStopTraining;
  std::string reason;
  template <class V>
  void visit(V& v) {
    v.field(1, "reason", reason);
  }
};

struct ActorEvent {
  static constexpr MessageKind kKind = MessageKind::kActorEvent;
  Severity severity = Severity::kInfo;
  std::string kind;
  std::string text;
  template <class V>
  void visit(V& v) {
    v.field(1, "severity", severity);
    v.field(2, "kind", kind);
    v.field(3, "text", text);
  }
};

}  // namespace seng
