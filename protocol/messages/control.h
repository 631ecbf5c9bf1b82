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

}  // namespace seng
