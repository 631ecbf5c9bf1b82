// sengctl asks sengd: events, metrics, logs, nodes, changes, version. See control.h for the rules.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "protocol/messages/kinds.h"
#include "protocol/messages/records.h"

namespace seng {

struct EventsRequest {
  static constexpr MessageKind kKind = MessageKind::kEventsRequest;
  std::string job;
  std::uint64_t after_id = 0;
  std::uint32_t limit = 1000;
  template <class V>
  void visit(V& v) {
    v.field(1, "job", job);
    v.field(2, "after_id", after_id);
    v.field(3, "limit", limit);
  }
};
struct EventsReply {
  static constexpr MessageKind kKind = MessageKind::kEventsReply;
  std::vector<EventRecord> events;
  template <class V>
  void visit(V& v) {
    v.field(1, "events", events);
  }
};

struct MetricsRequest {
  static constexpr MessageKind kKind = MessageKind::kMetricsRequest;
  std::string job;
  std::uint64_t after_step = 0;  // only later steps; at most `limit` of them, in order
  std::uint32_t limit = 10000;
  template <class V>
  void visit(V& v) {
    v.field(1, "job", job);
    v.field(2, "after_step", after_step);
    v.field(3, "limit", limit);
  }
};
struct MetricsReply {
  static constexpr MessageKind kKind = MessageKind::kMetricsReply;
  std::vector<StepMetrics> steps;
  std::vector<EpochMetrics> epochs;  // all of them
  bool more = false;                 // steps were left out; ask again after the last
  template <class V>
  void visit(V& v) {
    v.field(1, "steps", steps);
    v.field(2, "epochs", epochs);
    v.field(3, "more", more);
  }
};

struct LogsRequest {
  static constexpr MessageKind kKind = MessageKind::kLogsRequest;
  std::string job;
  ActorId actor = 0;
  std::uint64_t offset = 0;  // bytes from the start of the log
  std::uint32_t max_bytes = 65536;
  template <class V>
  void visit(V& v) {
    v.field(1, "job", job);
    v.field(2, "actor", actor);
    v.field(3, "offset", offset);
    v.field(4, "max_bytes", max_bytes);
  }
};
struct LogsReply {
  static constexpr MessageKind kKind = MessageKind::kLogsReply;
  std::string data;
  std::uint64_t size = 0;       // of the whole log now
  bool ended = false;           // the actor has exited: nothing more will come
  std::vector<ActorId> actors;  // all actors of the job that have logs
  template <class V>
  void visit(V& v) {
    v.field(1, "data", data, kMaxLogChunk);
    v.field(2, "size", size);
    v.field(3, "ended", ended);
    v.field(4, "actors", actors);
  }
  static constexpr std::size_t kMaxLogChunk = 1 << 20;
};

struct NodesRequest {
  static constexpr MessageKind kKind = MessageKind::kNodesRequest;
  template <class V>
  void visit(V&) {}
};
struct NodesReply {
  static constexpr MessageKind kKind = MessageKind::kNodesReply;
  std::vector<NodeRecord> nodes;
  template <class V>
  void visit(V& v) {
    v.field(1, "nodes", nodes);
  }
};

// Answered as soon as the job's record has a revision above `after_revision`, else after `timeout_ms` with
// the record as it is. `after_revision` 0 is answered at once.
struct WatchRequest {
  static constexpr MessageKind kKind = MessageKind::kWatchRequest;
  std::string job;
  std::uint64_t after_revision = 0;
  std::uint32_t timeout_ms = 10000;  // capped at 60000
  std::uint64_t epochs_after = 0;    // the reply holds only epochs behind that step
  template <class V>
  void visit(V& v) {
    v.field(1, "job", job);
    v.field(2, "after_revision", after_revision);
    v.field(3, "timeout_ms", timeout_ms);
    v.field(4, "epochs_after", epochs_after);
  }
};
struct WatchReply {
  static constexpr MessageKind kKind = MessageKind::kWatchReply;
  JobRecord job;
  std::vector<EpochMetrics> epochs;  // all so far
  template <class V>
  void visit(V& v) {
    v.field(1, "job", job);
    v.field(2, "epochs", epochs);
  }
};

struct VersionRequest {
  static constexpr MessageKind kKind = MessageKind::kVersionRequest;
  template <class V>
  void visit(V&) {}
};
struct VersionReply {
  static constexpr MessageKind kKind = MessageKind::kVersionReply;
  std::string version;
  std::uint16_t protocol_major = 0, protocol_minor = 0;
  std::int64_t pid = 0;
  double started_at = 0;
  std::string state_dir, node;
  template <class V>
  void visit(V& v) {
    v.field(1, "version", version);
    v.field(2, "protocol_major", protocol_major);
    v.field(3, "protocol_minor", protocol_minor);
    v.field(4, "pid", pid);
    v.field(5, "started_at", started_at);
    v.field(6, "state_dir", state_dir);
    v.field(7, "node", node);
  }
};

}  // namespace seng
