#include "daemon/actor_server.h"

#include <fmt/format.h>

#include "protocol/base/log.h"
#include "protocol/messages/control.h"

namespace seng {
namespace {

constexpr int kMessagesAtOnce = 1024;  // before the loop sees to other things
constexpr std::size_t kMaxStrangers = 1024;
constexpr std::size_t kMaxKept = 4096;  // messages of one

// What an actor tells again behind its hello, and behind the steps that the daemon before has not stored:
// taken earlier, the job's end would shut these out.
bool is_told_again(const Message& message) {
  switch (static_cast<MessageKind>(message.envelope.kind)) {
    case MessageKind::kEpochReport:
    case MessageKind::kCheckpointReport:
    case MessageKind::kFinished:
      return true;
    default:
      return false;
  }
}

}  // namespace

bool ActorServer::on_readable() {
  for (int i = 0; i < kMessagesAtOnce; ++i) {
    auto incoming = channel_.try_receive();
    if (!incoming) return i > 0;
    const Message& message = incoming->message;
    if (message.envelope.kind == static_cast<std::uint16_t>(MessageKind::kActorHello)) {
      on_hello(incoming->from, message);
      continue;
    }
    const auto known = actors_.find(incoming->from);
    const Key claimed{message.envelope.job, message.envelope.from};
    if (known != actors_.end() && known->second == claimed) {
      head_->on_message(claimed.first, claimed.second, message);
    } else if (message.envelope.kind != static_cast<std::uint16_t>(MessageKind::kError)) {
      const bool asked = head_->knows(claimed.first, claimed.second);
      if (strangers_.size() >= kMaxStrangers) strangers_.clear();
      const auto [stranger, first] = strangers_.try_emplace(incoming->from);
      if (asked && stranger->second.size() < kMaxKept) stranger->second.push_back(message);
      if (!first) continue;
      if (asked) {
        ask_hello(incoming->from, message);
        continue;
      }
      refuse(incoming->from, message,
             {ErrorCode::kUnavailable, "this actor is not known here: it has to say hello"});
    }
  }
  return true;
}

// An actor of a daemon before this one, or one that has connected anew.
void ActorServer::ask_hello(const PeerId& peer, const Message& message) {
  log_info("{}: heard, and asked to say hello", actor_name(message.envelope.job, message.envelope.from));
  Envelope envelope;
  envelope.job = message.envelope.job;
  (void)channel_.send(peer, make_message(envelope, HelloWanted{}));
}

void ActorServer::refuse(const PeerId& peer, const Message& message, const Error& error) {
  log_warning("refused {} from {}: {}", message_kind_name(message.envelope.kind),
              actor_name(message.envelope.job, message.envelope.from), error.message);
  Envelope envelope;
  envelope.job = message.envelope.job;
  envelope.sequence = message.envelope.sequence;
  (void)channel_.send(peer, make_message(envelope, ErrorReply{error.code, error.message}));
}

void ActorServer::on_hello(const PeerId& peer, const Message& message) {
  const auto hello = parse_body<ActorHello>(message);
  if (!hello) return refuse(peer, message, hello.error());
  const Key key{message.envelope.job, message.envelope.from};
  const auto welcome = head_->hello(key.first, key.second, *hello);
  if (!welcome) return refuse(peer, message, welcome.error());
  forget(key.first, key.second);  // it may have connected anew, under another name
  if (const auto other = actors_.find(peer); other != actors_.end()) peers_.erase(other->second);
  peers_[key] = peer;
  actors_[peer] = key;
  const auto stranger = strangers_.extract(peer);
  Envelope envelope;
  envelope.job = key.first;
  send(key.first, key.second, make_message(envelope, *welcome));
  head_->welcomed(key.first);
  if (stranger.empty()) return;
  for (const Message& kept : stranger.mapped()) {
    if (is_told_again(kept)) continue;
    if (Key{kept.envelope.job, kept.envelope.from} == key) head_->on_message(key.first, key.second, kept);
  }
}

void ActorServer::send(JobId job, ActorId actor, Message message) {
  const auto peer = peers_.find({job, actor});
  if (peer == peers_.end()) return;
  const auto sent = channel_.send(peer->second, std::move(message));
  if (!sent) log_warning("{}: cannot be reached: {}", actor_name(job, actor), sent.error().message);
}

void ActorServer::forget(JobId job, ActorId actor) {
  const auto peer = peers_.find({job, actor});
  if (peer == peers_.end()) return;
  actors_.erase(peer->second);
  peers_.erase(peer);
}

}  // namespace seng
