#include "actors/exchange/zmq_exchange.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "protocol/base/clock.h"
#include "protocol/base/secret.h"
#include "protocol/channel/poller.h"
#include "protocol/messages/control.h"

namespace seng {
namespace {

constexpr Poller::Token kWakeToken = 0, kServerToken = 1;

}  // namespace

Result<std::unique_ptr<ZmqExchange>> ZmqExchange::open(ZmqExchangeOptions options) {
  std::unique_ptr<ZmqExchange> exchange(new ZmqExchange(std::move(options)));
  if (exchange->options_.endpoint.empty()) return exchange;
  exchange->wake_fd_.reset(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  if (!exchange->wake_fd_) return fail(errno_error("cannot make an eventfd for the exchange"));
  auto server = bind_server(exchange->context_, exchange->options_.endpoint);
  if (!server) return fail(std::move(server).error());
  exchange->server_ = *std::move(server);
  exchange->thread_ = std::thread([self = exchange.get()] { self->run(); });
  return exchange;
}

ZmqExchange::ZmqExchange(ZmqExchangeOptions options) : options_(std::move(options)), core_(options_.step) {
  if (options_.nccl == nullptr) return;
  carrier_ = std::make_shared<LinkCarrier>(
      *options_.nccl,
      LinkCarrier::Ends{
          .core = &core_, .arrived = [this] { after_local_work(); }, .failed = [this] { link_failed(); }},
      options_.round_bytes);
}

ZmqExchange::~ZmqExchange() {
  if (carrier_) carrier_->close();
  if (!thread_.joinable()) return;
  stop_ = true;
  wake();
  thread_.join();
}

Status ZmqExchange::join(const Group& group, const std::function<bool()>& leaves) {
  if (options_.endpoint.empty() && group.members.size() > 1) {
    return fail(ErrorCode::kInvalidArgument, "an exchange without an endpoint joins only a group of one");
  }
  const bool carried = group.path == BlockPath::kNccl;
  if (carried && !carrier_) return fail(ErrorCode::kUnsupported, "this actor has no NCCL");
  // Before anything of its membership is given back: a device waits for what its link has under way.
  if (carrier_) carrier_->leave(), carrier_->wait_left();
  SENG_TRY(core_.join(group, carried ? carrier_ : nullptr));
  if (thread_.joinable()) SENG_TRY(reach(group));
  // What the membership before could not send, or was told, does not end this one; what comes from here on
  // does.
  forget_interruption(carried);
  // An interruption from before may have been this one's; the link, joined since, would wait for ever.
  if (leaves && leaves()) return interrupt("another membership is announced"), Status{};
  if (!thread_.joinable()) return {};
  core_.say_hello(options_.token);
  if (carried) SENG_TRY(say_identity(group));
  wake();
  // It may take seconds, which in a step would look as if all were hung.
  if (carried) SENG_TRY(carrier_->wait_open());
  return {};
}

// Has the I/O thread connect to the members.
Status ZmqExchange::reach(const Group& group) {
  auto connect = std::make_unique<Connect>();
  for (const Member& member : group.members) {
    if (member.actor != group.self) connect->peers.push_back(member);
  }
  std::future<Status> done = connect->done.get_future();
  {
    std::lock_guard lock(mutex_);
    if (broken_) return fail(ErrorCode::kInternal, *broken_);
    connect_ = std::move(connect);
  }
  wake();
  return done.get();
}

// The link of the group that is joined may have failed already.
void ZmqExchange::forget_interruption(bool carried) {
  const std::lock_guard lock(mutex_);
  interrupted_ = broken_;
  if (!interrupted_ && carried) interrupted_ = carrier_->failure();
}

// The leader's word comes behind its hello, on the same connections.
Status ZmqExchange::say_identity(const Group& group) {
  if (group.members[0].actor != group.self) return {};
  try {
    const std::string identity = options_.nccl->make_identity();
    core_.say_identity(identity);
    carrier_->meet(identity);
    return {};
  } catch (const VendorError& error) {
    return fail(ErrorCode::kUnavailable, error.what());
  }
}

void ZmqExchange::begin_step(std::uint64_t step, bool renews_curvature) {
  core_.begin_step(step, renews_curvature);
  after_local_work();
}

void ZmqExchange::add_leaf(std::uint32_t block, std::uint32_t micro, std::span<const float> gradient,
                           std::span<const float> statistics) {
  core_.add_leaf(block, micro, gradient, statistics);
  after_local_work();
}

void ZmqExchange::add_node(std::uint32_t block, const LeafRange& node, std::span<const float> gradient,
                           std::span<const float> statistics) {
  core_.add_node(block, node, gradient, statistics);
  after_local_work();
}

void ZmqExchange::add_fragment(std::uint32_t block, std::uint32_t micro, std::vector<float> values) {
  core_.add_fragment(block, micro, std::move(values));
  after_local_work();
}

std::span<float> ZmqExchange::direction_buffer(std::uint32_t block) {
  return core_.direction_buffer(block);
}

void ZmqExchange::publish(std::uint32_t block, std::span<const float> direction, const PublishWord& word) {
  core_.publish(block, direction, word);
  after_local_work();
}

void ZmqExchange::send(ActorId to, std::uint64_t step,
                       const std::variant<EvaluationPart, StateDigest, CheckpointShard>& body) {
  core_.send(to, step, body);
  after_local_work();
}

ExchangeEvent ZmqExchange::next() {
  std::unique_lock lock(mutex_);
  for (;;) {
    if (interrupted_) return Interrupted{*interrupted_};
    if (auto event = core_.next_event()) return *std::move(event);
    changed_.wait(lock);
  }
}

bool ZmqExchange::has_event() const {
  return interrupted() || core_.would_give_event();
}

std::variant<PeerMessage, Interrupted> ZmqExchange::next_message(MessageKind kind, std::uint64_t step,
                                                                 const std::vector<ActorId>& missing) {
  std::unique_lock lock(mutex_);
  for (;;) {
    gathered_from_.clear();
    if (interrupted_) return Interrupted{*interrupted_};
    if (auto message = core_.take_message(kind, step)) return *std::move(message);
    gathered_from_ = missing;
    changed_.wait(lock);
  }
}

std::vector<ActorId> ZmqExchange::awaits() const {
  {
    const std::lock_guard lock(mutex_);
    if (!gathered_from_.empty()) return gathered_from_;
  }
  return core_.awaits();
}

void ZmqExchange::interrupt(std::string reason) {
  {
    std::lock_guard lock(mutex_);
    if (!interrupted_) interrupted_ = std::move(reason);
  }
  if (carrier_) carrier_->leave();
  changed_.notify_all();
}

// Nobody has to leave the link: it is gone.
void ZmqExchange::link_failed() {
  {
    const std::lock_guard lock(mutex_);
    if (!interrupted_) interrupted_ = carrier_->failure();
  }
  changed_.notify_all();
}

bool ZmqExchange::interrupted() const {
  std::lock_guard lock(mutex_);
  return interrupted_.has_value();
}

void ZmqExchange::after_local_work() {
  if (thread_.joinable() && core_.has_outgoing()) wake();
  if (core_.has_event()) notify_driver();
}

void ZmqExchange::wake() {
  if (wake_pending_.exchange(true)) return;
  const std::uint64_t one = 1;
  // Cannot fail: the counter is far from its end, and a wake-up lost to EINTR does not exist for eventfd.
  (void)!write(wake_fd_.get(), &one, sizeof one);
}

// The event is there already; taking the mutex makes sure that the driver is either before its look or in its
// wait.
void ZmqExchange::notify_driver() {
  { std::lock_guard lock(mutex_); }
  changed_.notify_all();
}

void ZmqExchange::run() {
  std::string why = "the exchange was closed";
  try {
    Poller poller;
    poller.watch_fd(wake_fd_.get(), kWakeToken);
    poller.watch(*server_, kServerToken);
    serve(poller);
  } catch (const std::exception& error) {
    why = fmt::format("the exchange's I/O thread failed: {}", error.what());
    log_error("{}", why);
  }
  links_.clear();
  server_.reset();
  std::unique_ptr<Connect> connect;
  {
    std::lock_guard lock(mutex_);
    broken_ = why;
    connect = std::move(connect_);
  }
  if (connect) connect->done.set_value(fail(ErrorCode::kInternal, why));
  interrupt(why);
}

void ZmqExchange::serve(Poller& poller) {
  while (!stop_) {
    auto ready = poller.wait(-1);
    if (!ready) throw std::runtime_error(ready.error().message);
    for (const Poller::Token token : *ready) {
      if (token == kWakeToken) handle_wake(poller);
      if (token == kServerToken) receive_burst();
      if (token > kServerToken) drain_answers();
    }
  }
  // Last words: the directions that peers need to complete the step that this actor has completed.
  send_waiting();
}

void ZmqExchange::handle_wake(Poller& poller) {
  std::uint64_t count = 0;
  (void)!read(wake_fd_.get(), &count, sizeof count);
  // Before looking, so that what comes after the look wakes again.
  wake_pending_ = false;
  std::unique_ptr<Connect> request;
  {
    std::lock_guard lock(mutex_);
    request = std::move(connect_);
  }
  // First what the members before are owed, while the connections to those that go are there.
  send_waiting();
  if (!request) return;
  request->done.set_value(connect(request->peers, poller));
  send_waiting();
}

Status ZmqExchange::connect(const std::vector<Member>& peers, Poller& poller) {
  std::erase_if(links_, [&](const auto& entry) {
    const bool stays = std::ranges::any_of(peers, [&](const Member& peer) {
      return peer.actor == entry.first && peer.endpoint == entry.second.endpoint;
    });
    if (!stays) poller.forget(entry.second.poll_token);
    return !stays;
  });
  for (const Member& peer : peers) {
    if (links_.contains(peer.actor)) continue;
    auto channel = connect_client(context_, peer.endpoint, {.linger_ms = options_.linger_ms});
    if (!channel) return fail(channel.error().with_context(fmt::format("actor {}", peer.actor)));
    Link& link = links_[peer.actor];
    link = {peer.endpoint, *std::move(channel), next_poll_token_++};
    poller.watch(*link.channel, link.poll_token);
  }
  return {};
}

void ZmqExchange::send_waiting() {
  for (Outgoing& outgoing : core_.take_outgoing()) {
    const auto link = links_.find(outgoing.to);
    if (link == links_.end()) continue;  // of a membership that has just ended
    const auto sent = link->second.channel->send(std::move(outgoing.message));
    if (sent && *sent == Sent::kQueued) continue;
    // The step cannot complete without that part, so waiting on would be for nothing.
    interrupt(fmt::format("cannot send to actor {}: {}", outgoing.to,
                          sent ? "its queue is full" : sent.error().message));
  }
}

void ZmqExchange::receive_burst() {
  for (int i = 0; i < options_.receive_burst; ++i) {
    auto incoming = server_->try_receive();
    if (!incoming) break;
    receive(*incoming);
  }
  if (core_.has_outgoing()) send_waiting();
  if (core_.has_event()) notify_driver();
}

void ZmqExchange::receive(const ServerChannel::Incoming& incoming) {
  const Message& message = incoming.message;
  if (message.envelope.kind == static_cast<std::uint16_t>(MessageKind::kPeerHello)) return hello(incoming);
  const auto known = actor_of_.find(incoming.from);
  if (known == actor_of_.end()) return report_stranger("a connection that has not shown the job's token");
  if (known->second != message.envelope.from) return report_stranger("a message in another actor's name");
  const Status received = core_.receive(message);
  if (received) return;
  if (const std::uint64_t count = refusal_throttle_.admit(SystemClock().now()); count != 0) {
    log_warning("refused {} message{} of peers: {}", count, count == 1 ? "" : "s", received.error().message);
  }
}

void ZmqExchange::hello(const ServerChannel::Incoming& incoming) {
  const auto body = parse_body<PeerHello>(incoming.message);
  if (!body || !same_secret(body->token, options_.token))
    return report_stranger("a hello without the job's token");
  const ActorId actor = incoming.message.envelope.from;
  // One connection per actor: the latest.
  if (const auto old = peer_id_of_.find(actor); old != peer_id_of_.end()) actor_of_.erase(old->second);
  peer_id_of_[actor] = incoming.from;
  actor_of_[incoming.from] = actor;
}

// Peers answer nothing but what they cannot read.
void ZmqExchange::drain_answers() {
  for (auto& [actor, link] : links_) {
    while (auto answer = link.channel->try_receive()) {
      const auto error = parse_body<ErrorReply>(*answer);
      const std::uint64_t count = refusal_throttle_.admit(SystemClock().now());
      if (count != 0 && error) log_warning("actor {} refused a message: {}", actor, error->message);
    }
  }
}

void ZmqExchange::report_stranger(const char* why) {
  ++strangers_;
  if (const std::uint64_t count = stranger_throttle_.admit(SystemClock().now()); count != 0) {
    log_warning("ignored {} message{} to {}: {}", count, count == 1 ? "" : "s", options_.endpoint, why);
  }
}

}  // namespace seng
