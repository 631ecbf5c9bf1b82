#include "protocol/messages/kinds.h"

#include <cstddef>
#include <tuple>

#include "protocol/messages/all.h"
#include "protocol/wire/envelope.h"

namespace seng {
namespace {

template <class... Body>
constexpr bool all_kinds_are_different(std::tuple<Body...>*) {
  const MessageKind kinds[] = {Body::kKind...};
  for (std::size_t i = 0; i < sizeof...(Body); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      if (kinds[i] == kinds[j]) return false;
    }
  }
  return true;
}
static_assert(all_kinds_are_different(static_cast<AllMessages*>(nullptr)));
static_assert(std::tuple_size_v<AllMessages> == 63,
              "a new kind needs a struct, a place in all.h and in README.md");
static_assert(static_cast<int>(MessageKind::kError) == kRefusalKind,
              "every version must be able to read a refusal");

}  // namespace

std::string_view message_kind_name(std::uint16_t kind) {
  switch (static_cast<MessageKind>(kind)) {
    case MessageKind::kError:
      return "ErrorReply";
    case MessageKind::kSubmitRequest:
      return "SubmitRequest";
    case MessageKind::kSubmitReply:
      return "SubmitReply";
    case MessageKind::kListRequest:
      return "ListRequest";
    case MessageKind::kListReply:
      return "ListReply";
    case MessageKind::kDescribeRequest:
      return "DescribeRequest";
    case MessageKind::kDescribeReply:
      return "DescribeReply";
    case MessageKind::kStopRequest:
      return "StopRequest";
    case MessageKind::kStopReply:
      return "StopReply";
    case MessageKind::kEventsRequest:
      return "EventsRequest";
    case MessageKind::kEventsReply:
      return "EventsReply";
    case MessageKind::kMetricsRequest:
      return "MetricsRequest";
    case MessageKind::kMetricsReply:
      return "MetricsReply";
    case MessageKind::kLogsRequest:
      return "LogsRequest";
    case MessageKind::kLogsReply:
      return "LogsReply";
    case MessageKind::kNodesRequest:
      return "NodesRequest";
    case MessageKind::kNodesReply:
      return "NodesReply";
    case MessageKind::kWatchRequest:
      return "WatchRequest";
    case MessageKind::kWatchReply:
      return "WatchReply";
    case MessageKind::kVersionRequest:
      return "VersionRequest";
    case MessageKind::kVersionReply:
      return "VersionReply";
    case MessageKind::kScaleRequest:
      return "ScaleRequest";
    case MessageKind::kScaleReply:
      return "ScaleReply";
    case MessageKind::kDrainRequest:
      return "DrainRequest";
    case MessageKind::kDrainReply:
      return "DrainReply";
    case MessageKind::kDeleteRequest:
      return "DeleteRequest";
    case MessageKind::kDeleteReply:
      return "DeleteReply";
    case MessageKind::kActorHello:
      return "ActorHello";
    case MessageKind::kWelcome:
      return "Welcome";
    case MessageKind::kReconfigure:
      return "Reconfigure";
    case MessageKind::kParked:
      return "Parked";
    case MessageKind::kAssign:
      return "Assign";
    case MessageKind::kReady:
      return "Ready";
    case MessageKind::kResume:
      return "Resume";
    case MessageKind::kProgress:
      return "Progress";
    case MessageKind::kEpochReport:
      return "EpochReport";
    case MessageKind::kCheckpointReport:
      return "CheckpointReport";
    case MessageKind::kFinished:
      return "Finished";
    case MessageKind::kActorFailed:
      return "ActorFailed";
    case MessageKind::kStopTraining:
      return "StopTraining";
    case MessageKind::kActorEvent:
      return "ActorEvent";
    case MessageKind::kPrepared:
      return "Prepared";
    case MessageKind::kRetire:
      return "Retire";
    case MessageKind::kHelloWanted:
      return "HelloWanted";
    case MessageKind::kStateLost:
      return "StateLost";
    case MessageKind::kWarmUp:
      return "WarmUp";
    case MessageKind::kWarmedUp:
      return "WarmedUp";
    case MessageKind::kTune:
      return "Tune";
    case MessageKind::kTuned:
      return "Tuned";
    case MessageKind::kTakeChoices:
      return "TakeChoices";
    case MessageKind::kPeerHello:
      return "PeerHello";
    case MessageKind::kPartialSums:
      return "PartialSums";
    case MessageKind::kDirections:
      return "Directions";
    case MessageKind::kFragment:
      return "Fragment";
    case MessageKind::kEvaluationPart:
      return "EvaluationPart";
    case MessageKind::kStateDigest:
      return "StateDigest";
    case MessageKind::kCheckpointShard:
      return "CheckpointShard";
    case MessageKind::kCurvatureHeld:
      return "CurvatureHeld";
    case MessageKind::kLinkIdentity:
      return "LinkIdentity";
    case MessageKind::kBlobRequest:
      return "BlobRequest";
    case MessageKind::kBlobChunk:
      return "BlobChunk";
    case MessageKind::kBlobUnavailable:
      return "BlobUnavailable";
    case MessageKind::kBlobDigest:
      return "BlobDigest";
  }
  return {};
}

}  // namespace seng
