// The records that travel inside messages and lie in the store: jobs, actors, events, nodes; metrics.h has
// the rest. A field's number is never used again. Times are seconds since 1970 UTC as double; 0 is "not yet".
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/base/ids.h"
#include "protocol/messages/metrics.h"

namespace seng {

// Travels as its number: never renumber.
enum class JobState : std::uint8_t {
  kQueued = 1,
  kStarting = 2,
  kRunning = 3,
  kSucceeded = 4,
  kFailed = 5,
  kStopped = 6,
};
constexpr bool is_terminal(JobState s) {
  return s == JobState::kSucceeded || s == JobState::kFailed || s == JobState::kStopped;
}

constexpr bool is_known(JobState s) {
  return s >= JobState::kQueued && s <= JobState::kStopped;
}
std::string_view job_state_name(JobState state);  // "queued", ... as shown to users

enum class Severity : std::uint8_t { kInfo = 1, kWarning = 2, kError = 3 };
constexpr bool is_known(Severity s) {
  return s >= Severity::kInfo && s <= Severity::kError;
}
std::string_view severity_name(Severity severity);  // "info", "warning", "error"

struct JobRecord {
  JobId id = 0;
  std::string name;
  JobState state = JobState::kQueued;
  std::string reason;  // why it waits, failed or was stopped; empty when there is nothing to say
  double submitted_at = 0, started_at = 0, ended_at = 0;
  std::uint32_t actors = 0;  // in the current membership
  std::uint32_t actors_min = 1, actors_max = 1;
  GroupEpoch epoch;
  std::uint64_t step = 0, steps_total = 0;  // committed steps, of
  double epochs = 0, epochs_total = 0;      // passes over the data, of
  std::uint64_t samples_seen = 0;
  double train_loss = 0;                     // mean over the steps so far of the epoch in hand
  double train_accuracy = -1;                // likewise, 0..1; -1: no step is known yet
  double test_loss = 0, test_accuracy = -1;  // of the last evaluation; accuracy -1: none yet
  double images_per_second = 0;              // over the last reports
  std::string weights_sha256, state_sha256;  // of the final or last checkpointed state
  std::string checkpoint;                    // directory of the newest checkpoint, empty if none
  std::string optimizer, model;              // for tables
  std::uint64_t revision = 0;                // grows with every change of this record
  std::uint32_t restarts = 0;                // actors that were started in the place of lost ones
  std::string device_kind;                   // that it is bound to: "cpu", a GPU's model; empty: none yet
  std::string checkpoint_error;  // why its newest checkpoint could not be written; empty: none failed since

  template <class V>
  void visit(V& v) {
    v.field(1, "id", id);
    v.field(2, "name", name);
    v.field(3, "state", state);
    v.field(4, "reason", reason);
    v.field(5, "submitted_at", submitted_at);
    v.field(6, "started_at", started_at);
    v.field(7, "ended_at", ended_at);
    v.field(8, "actors", actors);
    v.field(9, "actors_min", actors_min);
    v.field(10, "actors_max", actors_max);
    v.field(11, "epoch.incarnation", epoch.incarnation);
    v.field(12, "epoch.counter", epoch.counter);
    v.field(13, "step", step);
    v.field(14, "steps_total", steps_total);
    v.field(15, "epochs", epochs);
    v.field(16, "epochs_total", epochs_total);
    v.field(17, "samples_seen", samples_seen);
    v.field(18, "train_loss", train_loss);
    v.field(19, "train_accuracy", train_accuracy);
    v.field(20, "test_loss", test_loss);
    v.field(21, "test_accuracy", test_accuracy);
    v.field(22, "images_per_second", images_per_second);
    v.field(23, "weights_sha256", weights_sha256);
    v.field(24, "state_sha256", state_sha256);
    v.field(25, "checkpoint", checkpoint);
    v.field(26, "optimizer", optimizer);
    v.field(27, "model", model);
    v.field(28, "revision", revision);
    v.field(29, "restarts", restarts);
    v.field(30, "device_kind", device_kind);
    v.field(31, "checkpoint_error", checkpoint_error);
  }
};

struct ActorRecord {
  ActorId actor = kNoActor;
  std::string node;
  std::string state;  // spawning | connected | ready | training | exited
  std::uint32_t slot = 0;
  std::int64_t pid = 0;
  std::string endpoint;
  std::string log_path;
  std::string device;                             // "cpu x2 lanes"
  std::uint32_t first_micro = 0, last_micro = 0;  // its range of micro-batches, half open
  std::uint64_t step = 0;
  std::uint64_t memory_bytes = 0;
  std::string exit;              // "exit 0", "signal 9 (KILL)"; empty while it runs
  std::uint64_t bytes_sent = 0;  // to peers since it started: gradient sums and directions, headers included
  std::uint64_t fragment_bytes_sent = 0;  // to peers since it started: curvature fragments
  std::uint64_t curvature_bytes = 0;      // that it holds, of blocks that it owns or backs up

  template <class V>
  void visit(V& v) {
    v.field(1, "actor", actor);
    v.field(2, "node", node);
    v.field(3, "state", state);
    v.field(4, "slot", slot);
    v.field(5, "pid", pid);
    v.field(6, "endpoint", endpoint);
    v.field(7, "log_path", log_path);
    v.field(8, "device", device);
    v.field(9, "first_micro", first_micro);
    v.field(10, "last_micro", last_micro);
    v.field(11, "step", step);
    v.field(12, "memory_bytes", memory_bytes);
    v.field(13, "exit", exit);
    v.field(14, "bytes_sent", bytes_sent);
    v.field(15, "fragment_bytes_sent", fragment_bytes_sent);
    v.field(16, "curvature_bytes", curvature_bytes);
  }
};

struct EventRecord {
  std::uint64_t id = 0;  // grows over all jobs of a head
  double at = 0;
  JobId job = 0;
  ActorId actor = kNoActor;
  Severity severity = Severity::kInfo;
  std::string
      kind;  // a stable word: Submitted, Started, ActorExited, CheckpointWritten, CurvatureRefused ...
  std::string text;

  template <class V>
  void visit(V& v) {
    v.field(1, "id", id);
    v.field(2, "at", at);
    v.field(3, "job", job);
    v.field(4, "actor", actor);
    v.field(5, "severity", severity);
    v.field(6, "kind", kind);
    v.field(7, "text", text);
  }
};

struct GpuRecord {
  std::string uuid;                     // "GPU-..."
  std::string model;                    // "NVIDIA H100 80GB HBM3"
  std::uint64_t memory_bytes = 0;       // 0: unknown
  std::uint64_t memory_used_bytes = 0;  // by everybody
  double utilisation = -1;              // share of the last sample period in which it was busy; -1: unknown

  template <class V>
  void visit(V& v) {
    v.field(1, "uuid", uuid);
    v.field(2, "model", model);
    v.field(3, "memory_bytes", memory_bytes);
    v.field(4, "memory_used_bytes", memory_used_bytes);
    v.field(5, "utilisation", utilisation);
  }
};

struct SlotRecord {
  std::uint32_t slot = 0;
  std::string device;  // cpu | cuda
  std::uint32_t threads = 1;
  JobId job = 0;  // 0: free
  ActorId actor = kNoActor;
  std::string gpu;  // its UUID; empty: none

  template <class V>
  void visit(V& v) {
    v.field(1, "slot", slot);
    v.field(2, "device", device);
    v.field(3, "threads", threads);
    v.field(4, "job", job);
    v.field(5, "actor", actor);
    v.field(6, "gpu", gpu);
  }
};

struct NodeRecord {
  std::string name;
  std::string state;  // "up"
  std::uint32_t cores = 0;
  std::uint64_t memory_bytes = 0;
  std::string cpu_model;
  std::vector<SlotRecord> slots;
  std::vector<GpuRecord> gpus;  // that the machine has, whether slots use them or not

  template <class V>
  void visit(V& v) {
    v.field(1, "name", name);
    v.field(2, "state", state);
    v.field(3, "cores", cores);
    v.field(4, "memory_bytes", memory_bytes);
    v.field(5, "cpu_model", cpu_model);
    v.field(6, "slots", slots);
    v.field(7, "gpus", gpus);
  }
};

}  // namespace seng
