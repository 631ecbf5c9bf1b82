// sengd <-> seng-actor: one DEALER per actor to the daemon's ROUTER. The conversation of one membership:
//
//   actor: ActorHello                        (token proves that this daemon spawned it)
//   daemon: Welcome                          (the job)
//   daemon: Reconfigure(e) to all members    (persisted before it is sent)
//   actor: Parked(applied step)
//   daemon: Assign(base step)                when every member has parked
//   actor: Ready                             holds the state of the base step, peers connected
//   daemon: Resume                           when every member is ready
//   actor: Progress* EpochReport* CheckpointReport* ActorEvent*, then Finished or ActorFailed
//
// The envelope's epoch is the membership meant; what carries an older one is dropped.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "protocol/base/error.h"
#include "protocol/messages/kinds.h"
#include "protocol/messages/records.h"

namespace seng {

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
  }
};

struct Welcome {
  static constexpr MessageKind kKind = MessageKind::kWelcome;
  std::string spec_yaml;
  std::string job_dir;    // checkpoints/ and ledger files of the job go below it
  std::string job_token;  // shared by the job's actors: PeerHello carries it
  std::uint32_t lease_ms = 1000;
  template <class V>
  void visit(V& v) {
    v.field(1, "spec_yaml", spec_yaml);
    v.field(2, "job_dir", job_dir);
    v.field(3, "lease_ms", lease_ms);
    v.field(4, "job_token", job_token);
  }
};

struct Member {
  ActorId actor = kNoActor;
  std::string node;
  std::string endpoint;
  std::uint32_t first_micro = 0, last_micro = 0;  // half open; the ranges of all members cut [0, V) in order

  bool operator==(const Member&) const = default;
  template <class V>
  void visit(V& v) {
    v.field(1, "actor", actor);
    v.field(2, "node", node);
    v.field(3, "endpoint", endpoint);
    v.field(4, "first_micro", first_micro);
    v.field(5, "last_micro", last_micro);
  }
};

// The first member is the leader: it owns the step's summary, reports and writes manifests.
struct Reconfigure {
  static constexpr MessageKind kKind = MessageKind::kReconfigure;
  std::vector<Member> members;
  template <class V>
  void visit(V& v) {
    v.field(1, "members", members);
  }
};

struct Parked {
  static constexpr MessageKind kKind = MessageKind::kParked;
  std::uint64_t applied_step = 0;
  template <class V>
  void visit(V& v) {
    v.field(1, "applied_step", applied_step);
  }
};

struct Assign {
  static constexpr MessageKind kKind = MessageKind::kAssign;
  std::uint64_t base_step = 0;
  std::vector<ActorId> holders;  // who has the state of the base step
  template <class V>
  void visit(V& v) {
    v.field(1, "base_step", base_step);
    v.field(2, "holders", holders);
  }
};

struct Ready {
  static constexpr MessageKind kKind = MessageKind::kReady;
  template <class V>
  void visit(V&) {}
};
struct Resume {
  static constexpr MessageKind kKind = MessageKind::kResume;
  template <class V>
  void visit(V&) {}
};

// From every actor at least twice per lease; `steps` only from the leader.
struct Progress {
  static constexpr MessageKind kKind = MessageKind::kProgress;
  std::uint64_t applied_step = 0;
  std::uint64_t counter =
      0;  // grows with every finished micro-batch or owner's task: stands still in a hung actor
  std::uint64_t memory_bytes = 0;
  std::vector<StepMetrics> steps;                         // since the report before
  std::uint64_t bytes_sent = 0, fragment_bytes_sent = 0;  // as in ActorRecord
  template <class V>
  void visit(V& v) {
    v.field(1, "applied_step", applied_step);
    v.field(2, "counter", counter);
    v.field(3, "memory_bytes", memory_bytes);
    v.field(4, "steps", steps);
    v.field(5, "bytes_sent", bytes_sent);
    v.field(6, "fragment_bytes_sent", fragment_bytes_sent);
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
  template <class V>
  void visit(V& v) {
    v.field(1, "step", step);
    v.field(2, "stopped", stopped);
    v.field(3, "weights_sha256", weights_sha256);
    v.field(4, "state_sha256", state_sha256);
  }
};

struct ActorFailed {
  static constexpr MessageKind kKind = MessageKind::kActorFailed;
  ErrorCode code = ErrorCode::kInternal;
  std::string message;
  template <class V>
  void visit(V& v) {
    v.field(1, "code", code);
    v.field(2, "message", message);
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
