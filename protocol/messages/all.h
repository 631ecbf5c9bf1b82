// Every message there is, as types: for code that treats them alike.
#pragma once

#include <tuple>
#include <utility>

#include "protocol/messages/control.h"
#include "protocol/messages/lifecycle.h"
#include "protocol/messages/peer.h"
#include "protocol/messages/queries.h"
#include "protocol/messages/state.h"
#include "protocol/messages/tuning.h"

namespace seng {

using ControlMessages =
    std::tuple<ErrorReply, SubmitRequest, SubmitReply, ListRequest, ListReply, DescribeRequest, DescribeReply,
               StopRequest, StopReply, EventsRequest, EventsReply, MetricsRequest, MetricsReply, LogsRequest,
               LogsReply, NodesRequest, NodesReply, WatchRequest, WatchReply, VersionRequest, VersionReply,
               ScaleRequest, ScaleReply, DrainRequest, DrainReply, DeleteRequest, DeleteReply>;
using LifecycleMessages =
    std::tuple<ActorHello, Welcome, Reconfigure, Parked, Assign, Ready, Resume, Progress, EpochReport,
               CheckpointReport, Finished, ActorFailed, StopTraining, ActorEvent, Prepared, Retire,
               HelloWanted, StateLost, WarmUp, WarmedUp, Tune, Tuned, TakeChoices>;
using PeerMessages =
    std::tuple<PeerHello, PartialSums, Directions, Fragment, EvaluationPart, StateDigest, CheckpointShard,
               CurvatureHeld, LinkIdentity, BlobRequest, BlobChunk, BlobUnavailable, BlobDigest>;
using AllMessages = decltype(std::tuple_cat(std::declval<ControlMessages>(),
                                            std::declval<LifecycleMessages>(), std::declval<PeerMessages>()));

// f.template operator()<Body>() for each type of the tuple, in order.
template <class Messages, class F>
void for_each_message(F&& f) {
  []<class... Body>(std::tuple<Body...>*, F& each) { (each.template operator()<Body>(), ...); }(
      static_cast<Messages*>(nullptr), f);
}

}  // namespace seng
