#include "daemon/control_server.h"

#include <algorithm>

#include <fmt/format.h>
#include <unistd.h>

#include "daemon/actor_log.h"
#include "protocol/base/log.h"
#include "protocol/base/version.h"
#include "protocol/messages/kinds.h"

namespace seng {
namespace {

constexpr int kRequestsAtOnce = 64;  // before the loop sees to other things
constexpr std::uint32_t kMaxSteps = 20'000, kMaxEvents = 5'000;
constexpr std::size_t kMaxEventBytes = 4 << 20;  // of all texts of a reply
constexpr std::size_t kMaxWatches = 4096;
constexpr std::uint32_t kMaxWatchMs = 60'000;

}  // namespace

ControlServer::ControlServer(ServerChannel& channel, Head& head, const Clock& clock, About about)
    : channel_(channel), head_(head), clock_(clock), about_(std::move(about)) {
  head_.on_change([this](JobId job) { changed_.insert(job); });
}

template <class Body>
void ControlServer::reply(const PeerId& peer, std::uint64_t sequence, const Body& body) {
  Envelope envelope;
  envelope.sequence = sequence;
  const auto sent = channel_.send(peer, make_message(envelope, body));
  if (sent) return;
  if (sent.error().code == ErrorCode::kExhausted && Body::kKind != MessageKind::kError) {
    return reply(peer, sequence,
                 ErrorReply{ErrorCode::kExhausted, "the answer is too long: " + sent.error().message});
  }
  log_debug("a reply could not be sent: {}", sent.error().message);  // sengctl has gone
}

void ControlServer::refuse(const Request& request, const Error& error) {
  reply(request.peer, request.message.envelope.sequence,
        ErrorReply{error.code, shortened(error.message, 256 << 10)});
}

template <class Body>
void ControlServer::take(const Request& request) {
  const auto body = parse_body<Body>(request.message);
  if (body) return on_body(request, *body);
  refuse(request, body.error().with_context("the request cannot be read"));
}

void ControlServer::on_readable() {
  for (int i = 0; i < kRequestsAtOnce; ++i) {
    auto incoming = channel_.try_receive();
    if (!incoming) return;
    handle({std::move(incoming->from), std::move(incoming->message)});
  }
}

void ControlServer::handle(const Request& request) {
  switch (static_cast<MessageKind>(request.message.envelope.kind)) {
    case MessageKind::kSubmitRequest:
      return take<SubmitRequest>(request);
    case MessageKind::kListRequest:
      return take<ListRequest>(request);
    case MessageKind::kDescribeRequest:
      return take<DescribeRequest>(request);
    case MessageKind::kStopRequest:
      return take<StopRequest>(request);
    case MessageKind::kScaleRequest:
      return take<ScaleRequest>(request);
    case MessageKind::kDrainRequest:
      return take<DrainRequest>(request);
    case MessageKind::kDeleteRequest:
      return take<DeleteRequest>(request);
    case MessageKind::kEventsRequest:
      return take<EventsRequest>(request);
    case MessageKind::kMetricsRequest:
      return take<MetricsRequest>(request);
    case MessageKind::kLogsRequest:
      return take<LogsRequest>(request);
    case MessageKind::kNodesRequest:
      return take<NodesRequest>(request);
    case MessageKind::kWatchRequest:
      return take<WatchRequest>(request);
    case MessageKind::kVersionRequest:
      return take<VersionRequest>(request);
    case MessageKind::kError:
      return;  // an answer to an answer could go round for ever
    default:
      refuse(request,
             {ErrorCode::kUnsupported, fmt::format("{} is no request that sengd answers here",
                                                   message_kind_name(request.message.envelope.kind))});
  }
}

void ControlServer::on_body(const Request& request, const SubmitRequest& body) {
  head_.submit(body, [this, peer = request.peer,
                      sequence = request.message.envelope.sequence](const Result<JobRecord>& job) {
    if (job) return reply(peer, sequence, SubmitReply{*job});
    reply(peer, sequence, ErrorReply{job.error().code, shortened(job.error().message, 256 << 10)});
  });
}

void ControlServer::on_body(const Request& request, const ListRequest&) {
  reply(request.peer, request.message.envelope.sequence, ListReply{head_.jobs()});
}

void ControlServer::on_body(const Request& request, const DescribeRequest& body) {
  auto described = head_.describe(body.job);
  if (!described) return refuse(request, described.error());
  reply(request.peer, request.message.envelope.sequence, *described);
}

void ControlServer::on_body(const Request& request, const StopRequest& body) {
  auto stopped = head_.stop(body.job);
  if (!stopped) return refuse(request, stopped.error());
  reply(request.peer, request.message.envelope.sequence, StopReply{*stopped});
}

void ControlServer::on_body(const Request& request, const ScaleRequest& body) {
  auto scaled = head_.scale(body.job, body.actors);
  if (!scaled) return refuse(request, scaled.error());
  reply(request.peer, request.message.envelope.sequence, ScaleReply{*scaled});
}

void ControlServer::on_body(const Request& request, const DrainRequest& body) {
  auto draining = head_.drain(body.job, body.actor);
  if (!draining) return refuse(request, draining.error());
  reply(request.peer, request.message.envelope.sequence, DrainReply{*draining});
}

void ControlServer::on_body(const Request& request, const DeleteRequest& body) {
  auto deleted = head_.remove(body.job, body.checkpoints);
  if (!deleted) return refuse(request, deleted.error());
  reply(request.peer, request.message.envelope.sequence, *deleted);
}

void ControlServer::on_body(const Request& request, const EventsRequest& body) {
  JobId job = 0;  // no name: the events of all
  if (!body.job.empty()) {
    const auto record = head_.find(body.job);
    if (!record) return refuse(request, record.error());
    job = record->id;
  }
  auto events = head_.store().events(job, body.after_id, std::min(body.limit, kMaxEvents));
  if (!events) return refuse(request, events.error());
  // Fewer than asked for are no loss: the next request goes on after the last.
  std::size_t bytes = 0, fitting = 0;
  while (fitting < events->size() && bytes < kMaxEventBytes) bytes += (*events)[fitting++].text.size();
  events->resize(fitting);
  reply(request.peer, request.message.envelope.sequence, EventsReply{*std::move(events)});
}

void ControlServer::on_body(const Request& request, const MetricsRequest& body) {
  const auto record = head_.find(body.job);
  if (!record) return refuse(request, record.error());
  const std::uint32_t limit = std::clamp(body.limit, 1u, kMaxSteps);
  auto steps = head_.store().steps(record->id, body.after_step, limit + 1);
  if (!steps) return refuse(request, steps.error());
  auto epochs = head_.store().epoch_metrics(record->id, 0);
  if (!epochs) return refuse(request, epochs.error());
  MetricsReply out;
  out.more = steps->size() > limit;
  if (out.more) steps->resize(limit);
  out.steps = *std::move(steps);
  out.epochs = *std::move(epochs);
  reply(request.peer, request.message.envelope.sequence, out);
}

void ControlServer::on_body(const Request& request, const LogsRequest& body) {
  const auto record = head_.find(body.job);
  if (!record) return refuse(request, record.error());
  const auto actors = head_.actors(record->id);
  if (!actors) return refuse(request, actors.error());
  LogsReply out;
  const ActorRecord* wanted = nullptr;
  for (const ActorRecord& a : *actors) {
    out.actors.push_back(a.actor);
    if (a.actor == body.actor) wanted = &a;
  }
  if (wanted == nullptr) {
    return refuse(request,
                  {ErrorCode::kNotFound,
                   out.actors.empty() ? fmt::format("job {} has started no actor", record->id)
                                      : fmt::format("job {} has no actor {}; it has {} to {}", record->id,
                                                    body.actor, out.actors.front(), out.actors.back())});
  }
  auto chunk = read_log_chunk(wanted->log_path, body.offset,
                              std::min<std::uint64_t>(body.max_bytes, LogsReply::kMaxLogChunk));
  if (!chunk) return refuse(request, chunk.error());
  out.data = std::move(chunk->data);
  out.size = chunk->size;
  out.ended = wanted->state == actor_state_name(ActorState::kExited);
  reply(request.peer, request.message.envelope.sequence, out);
}

void ControlServer::on_body(const Request& request, const NodesRequest&) {
  reply(request.peer, request.message.envelope.sequence, NodesReply{{head_.node()}});
}

void ControlServer::on_body(const Request& request, const WatchRequest& body) {
  const auto record = head_.find(body.job);
  if (!record) return refuse(request, record.error());
  const double wait_s = std::min(body.timeout_ms, kMaxWatchMs) / 1000.0;
  Watch watch{request.peer,
              request.message.envelope.sequence,
              record->id,
              body.after_revision,
              clock_.now() + wait_s,
              body.epochs_after};
  // A revision above ours is of an earlier life of the daemon, whose last changes were not stored.
  const bool news = record->revision != body.after_revision || body.after_revision == 0;
  if (news || watches_.size() >= kMaxWatches) return answer(watch);
  watches_.push_back(std::move(watch));
}

void ControlServer::answer(const Watch& watch) {
  WatchReply out;
  const auto record = head_.find(std::to_string(watch.job));
  if (!record)
    return reply(watch.peer, watch.sequence, ErrorReply{record.error().code, record.error().message});
  auto epochs = head_.store().epoch_metrics(watch.job, watch.epochs_after);
  if (!epochs)
    return reply(watch.peer, watch.sequence, ErrorReply{epochs.error().code, epochs.error().message});
  out.job = *record;
  out.epochs = *std::move(epochs);
  reply(watch.peer, watch.sequence, out);
}

void ControlServer::before_sleep() {
  const double now = clock_.now();
  // What it has changed to may have been told already, before this question came.
  const auto news = [&](const Watch& w) {
    if (!changed_.contains(w.job)) return false;
    const auto record = head_.find(std::to_string(w.job));
    return !record || record->revision != w.after_revision;
  };
  const auto due = [&](const Watch& w) { return w.deadline <= now || news(w); };
  for (auto it = watches_.begin(); it != watches_.end();) {
    if (due(*it)) {
      answer(*it);
      it = watches_.erase(it);
    } else {
      ++it;
    }
  }
  changed_.clear();
}

std::optional<double> ControlServer::deadline() const {
  std::optional<double> out;
  for (const Watch& w : watches_) out = std::min(out.value_or(w.deadline), w.deadline);
  return out;
}

void ControlServer::on_body(const Request& request, const VersionRequest&) {
  VersionReply out;
  out.version = seng_version();
  out.protocol_major = kProtocolMajor;
  out.protocol_minor = kProtocolMinor;
  out.pid = getpid();
  out.started_at = about_.started_at;
  out.state_dir = about_.state_dir;
  out.node = about_.node;
  reply(request.peer, request.message.envelope.sequence, out);
}

}  // namespace seng
