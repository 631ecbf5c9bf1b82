// What leads every message. See protocol/README.md for the bytes.
#pragma once

#include <cstdint>

#include "protocol/base/ids.h"

namespace seng {

// Peers speak if their major versions are equal; a minor version only adds kinds and fields.
inline constexpr std::uint16_t kProtocolMajor = 1;
inline constexpr std::uint16_t kProtocolMinor = 0;

// A refusal (messages' ErrorReply) is read whatever version sent it: this number and the envelope's fields 1,
// 2, 3 and 9 stay as they are for ever.
inline constexpr std::uint16_t kRefusalKind = 1;

struct Envelope {
  std::uint16_t major = kProtocolMajor;
  std::uint16_t minor = kProtocolMinor;
  std::uint16_t kind = 0;      // MessageKind
  JobId job = 0;               // 0: concerns no job
  GroupEpoch epoch;            // {0,0}: outside any membership
  std::uint64_t step = 0;      // the step that it belongs to; 0 where there is none
  ActorId from = kNoActor;     // the sending actor; kNoActor: the daemon or sengctl
  std::uint64_t sequence = 0;  // per sender and connection, from 1; a reply carries its request's

  template <class Visitor>
  void visit(Visitor& v) {
    v.field(1, "major", major);
    v.field(2, "minor", minor);
    v.field(3, "kind", kind);
    v.field(4, "job", job);
    v.field(5, "epoch.incarnation", epoch.incarnation);
    v.field(6, "epoch.counter", epoch.counter);
    v.field(7, "step", step);
    v.field(8, "from", from);
    v.field(9, "sequence", sequence);
  }
};

}  // namespace seng
