// The numbers of the message kinds. A number is never used again, also after its kind has gone.
#pragma once

#include <cstdint>
#include <string_view>

namespace seng {

enum class MessageKind : std::uint16_t {
  // sengctl <-> sengd (control.h)
  kError = 1,  // the reply to any request that failed
  kSubmitRequest = 100,
  kSubmitReply = 101,
  kListRequest = 102,
  kListReply = 103,
  kDescribeRequest = 104,
  kDescribeReply = 105,
  kStopRequest = 106,
  kStopReply = 107,
  kEventsRequest = 108,
  kEventsReply = 109,
  kMetricsRequest = 110,
  kMetricsReply = 111,
  kLogsRequest = 112,
  kLogsReply = 113,
  kNodesRequest = 114,
  kNodesReply = 115,
  kWatchRequest = 116,
  kWatchReply = 117,
  kVersionRequest = 118,
  kVersionReply = 119,
  kScaleRequest = 120,
  kScaleReply = 121,
  kDrainRequest = 122,
  kDrainReply = 123,
  kDeleteRequest = 124,
  kDeleteReply = 125,

  // sengd <-> seng-actor (lifecycle.h)
  kActorHello = 200,
  kWelcome = 201,
  kReconfigure = 202,
  kParked = 203,
  kAssign = 204,
  kReady = 205,
  kResume = 206,
  kProgress = 207,
  kEpochReport = 208,
  kCheckpointReport = 209,
  kFinished = 210,
  kActorFailed = 211,
  kStopTraining = 212,
  kActorEvent = 213,
  kPrepared = 214,
  kRetire = 215,
  kHelloWanted = 216,
  kStateLost = 217,
  kWarmUp = 218,
  kWarmedUp = 219,
  kTune = 220,
  kTuned = 221,
  kTakeChoices = 222,

  // seng-actor <-> seng-actor (peer.h)
  kPeerHello = 300,
  kPartialSums = 301,
  kDirections = 302,
  kFragment = 303,
  kEvaluationPart = 304,
  kStateDigest = 305,
  kCheckpointShard = 306,
  kCurvatureHeld = 307,
  kLinkIdentity = 308,
  kBlobRequest = 310,
  kBlobChunk = 311,
  kBlobUnavailable = 312,
  kBlobDigest = 313,
};

// "PartialSums"; empty for a number that is no kind.
std::string_view message_kind_name(std::uint16_t kind);
inline std::string_view message_kind_name(MessageKind kind) {
  return message_kind_name(static_cast<std::uint16_t>(kind));
}

}  // namespace seng
