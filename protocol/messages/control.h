// sengctl <-> sengd. Every request gets exactly one reply, of its kind + 1 or ErrorReply, with the request's
// sequence number. A job is named by its number or its name (the newest of that name).
// These structs carry no payload frames. Here: jobs; queries.h has the reading requests.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "protocol/base/error.h"
#include "protocol/messages/kinds.h"
#include "protocol/messages/queries.h"
#include "protocol/messages/records.h"
#include "protocol/messages/tuning.h"

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
  TuningRecord tuning;              // of a job that is tuned
  template <class V>
  void visit(V& v) {
    v.field(1, "job", job);
    v.field(2, "spec_yaml", spec_yaml);
    v.field(3, "plan_json", plan_json);
    v.field(4, "actors", actors);
    v.field(5, "events", events);
    v.field(6, "tuning", tuning);
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

// Sets how many actors the job shall have at most (and at least, where its minimum is above that). It grows
// as slots get free and shrinks at once; survivors go on in their processes.
struct ScaleRequest {
  static constexpr MessageKind kKind = MessageKind::kScaleRequest;
  std::string job;
  std::uint32_t actors = 0;
  template <class V>
  void visit(V& v) {
    v.field(1, "job", job);
    v.field(2, "actors", actors);
  }
};
struct ScaleReply {
  static constexpr MessageKind kKind = MessageKind::kScaleReply;
  JobRecord job;
  template <class V>
  void visit(V& v) {
    v.field(1, "job", job);
  }
};

// Takes an actor out of the group after a step and ends it; another one is started in its place.
struct DrainRequest {
  static constexpr MessageKind kKind = MessageKind::kDrainRequest;
  std::string job;
  ActorId actor = 0;
  template <class V>
  void visit(V& v) {
    v.field(1, "job", job);
    v.field(2, "actor", actor);
  }
};
struct DrainReply {
  static constexpr MessageKind kKind = MessageKind::kDrainReply;
  JobRecord job;
  template <class V>
  void visit(V& v) {
    v.field(1, "job", job);
  }
};

// Removes a job that has ended: its records, events and metrics, its actors' logs and its ledgers; its
// checkpoints only if asked. kInvalidArgument: it has not ended, or another job begins with its checkpoints.
struct DeleteRequest {
  static constexpr MessageKind kKind = MessageKind::kDeleteRequest;
  std::string job;
  bool checkpoints = false;
  template <class V>
  void visit(V& v) {
    v.field(1, "job", job);
    v.field(2, "checkpoints", checkpoints);
  }
};
struct DeleteReply {
  static constexpr MessageKind kKind = MessageKind::kDeleteReply;
  JobRecord job;     // as it was
  std::string kept;  // the directory of the checkpoints that stay; empty: none do
  template <class V>
  void visit(V& v) {
    v.field(1, "job", job);
    v.field(2, "kept", kept);
  }
};

}  // namespace seng
