// sengctl <-> sengd. Every request gets exactly one reply, of its kind + 1 or ErrorReply, with the request's
// sequence number. A job is named by its number or its name (the newest of that name).
// These structs carry no payload frames.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "protocol/base/error.h"
#include "protocol/messages/kinds.h"
#include "protocol/messages/records.h"

namespace seng {

struct ErrorReply {
  static constexpr MessageKind kKind = MessageKind::kError;
  ErrorCode code = ErrorCode::kInternal;
  std::string message;
  template <class V>
  void visit(V& v) {
    v.field(1, "code", code);
    v.field(2, "message", message);
  }
};

struct SubmitRequest {
  static constexpr MessageKind kKind = MessageKind::kSubmitRequest;
  std::string spec_yaml;  // the effective specification, every default written out
  std::string source;     // where it came from, for error messages: the file's name
  template <class V>
  void visit(V& v) {
    v.field(1, "spec_yaml", spec_yaml);
    v.field(2, "source", source);
  }
};
struct SubmitReply {
  static constexpr MessageKind kKind = MessageKind::kSubmitReply;
  JobRecord job;
  template <class V>
  void visit(V& v) {
    v.field(1, "job", job);
  }
};

struct ListRequest {
  static constexpr MessageKind kKind = MessageKind::kListRequest;
  template <class V>
  void visit(V&) {}
};
struct ListReply {
  static constexpr MessageKind kKind = MessageKind::kListReply;
  std::vector<JobRecord> jobs;  // by number
  template <class V>
  void visit(V& v) {
    v.field(1, "jobs", jobs);
  }
};

struct DescribeRequest {
  static constexpr MessageKind kKind = MessageKind::kDescribeRequest;
  std::string job;
  template <class V>
  void visit(V& v) {
    v.field(1, "job", job);
  }
};
struct DescribeReply {
  static constexpr MessageKind kKind = MessageKind::kDescribeReply;
  JobRecord job;
  std::string spec_yaml;
  std::string plan_json;  // what `seng-actor plan` said of it: parameters, blocks, memory
  std::vector<ActorRecord> actors;
  std::vector<EventRecord> events;  // the newest 20, oldest first
  template <class V>
  void visit(V& v) {
    v.field(1, "job", job);
    v.field(2, "spec_yaml", spec_yaml);
    v.field(3, "plan_json", plan_json);
    v.field(4, "actors", actors);
    v.field(5, "events", events);
  }
};

// Stops a queued job at once, a running one after the step in flight, with a checkpoint.
struct StopRequest {
  static constexpr MessageKind kKind = MessageKind::kStopRequest;
  std::string job;
  template <class V>
  void visit(V& v) {
    v.field(1, "job", job);
  }
};
struct StopReply {
  static constexpr MessageKind kKind = MessageKind::kStopReply;
  JobRecord job;
  template <class V>
  void visit(V& v) {
    v.field(1, "job", job);
  }
};

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
  template <class V>
  void visit(V& v) {
    v.field(1, "job", job);
    v.field(2, "after_revision", after_revision);
    v.field(3, "timeout_ms", timeout_ms);
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
