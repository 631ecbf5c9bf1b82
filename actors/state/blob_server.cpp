#include "actors/state/blob_server.h"

#include <algorithm>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "actors/state/piece_pool.h"
#include "protocol/base/clock.h"
#include "protocol/base/secret.h"
#include "protocol/channel/poller.h"

namespace seng {
namespace {

constexpr Poller::Token kServerWakeToken = 0, kServerToken = 1;
constexpr int kRequestsAtOnce = 64;  // requests answered before a change of the offer is looked for in wait()
constexpr std::size_t kDigestPieces = 8;  // hashed at a time, so that others are served meanwhile
constexpr std::size_t kKeptBuffers = 16;
constexpr std::size_t kKnownPeers = 256;  // above it, connections with nothing in flight are forgotten

}  // namespace

Result<std::unique_ptr<BlobServer>> BlobServer::open(BlobServerOptions options) {
  std::unique_ptr<BlobServer> server(new BlobServer(std::move(options)));
  server->wake_fd_.reset(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  if (!server->wake_fd_) return fail(errno_error("cannot make an eventfd for the state's server"));
  // What a fetch has not taken when this closes, it asks of others.
  auto channel = bind_server(server->context_, server->options_.endpoint, {.linger_ms = 0});
  if (!channel) return fail(std::move(channel).error());
  server->server_ = *std::move(channel);
  server->endpoint_ = server->server_->endpoint();
  server->thread_ = std::thread([self = server.get()] { self->run(); });
  return server;
}

BlobServer::BlobServer(BlobServerOptions options)
    : options_(std::move(options)), pool_(std::make_shared<PiecePool>(kKeptBuffers)) {}

BlobServer::~BlobServer() {
  if (!thread_.joinable()) return;
  stop_ = true;
  wake();
  thread_.join();
}

void BlobServer::offer(GroupEpoch epoch, std::vector<Blob> blobs) {
  change(std::make_unique<BlobOffer>(epoch, std::move(blobs)));
}

void BlobServer::withdraw() {
  change(nullptr);
}

void BlobServer::run(GroupEpoch epoch) {
  change(std::make_unique<BlobOffer>(epoch, std::vector<Blob>{}, true));
}

void BlobServer::amend(std::vector<Blob> added, std::vector<BlobKey> dropped) {
  (void)post({true, nullptr, std::move(added), std::move(dropped), {}});
}

void BlobServer::change(std::unique_ptr<BlobOffer> offer) {
  auto done = post({false, std::move(offer), {}, {}, {}});
  if (done) done->wait();
}

std::optional<std::future<void>> BlobServer::post(Change change) {
  std::future<void> done = change.done.get_future();
  {
    std::lock_guard lock(mutex_);
    if (broken_) return std::nullopt;
    changes_.push_back(std::move(change));
    change_waits_ = true;
  }
  wake();
  return done;
}

BlobServerCounters BlobServer::counters() const {
  return {bytes_served_.load(), refused_.load(), strangers_.load()};
}

void BlobServer::wake() {
  const std::uint64_t one = 1;
  (void)!write(wake_fd_.get(), &one, sizeof one);  // cannot fail: the counter is far from its end
}

void BlobServer::run() {
  try {
    Poller poller;
    poller.watch_fd(wake_fd_.get(), kServerWakeToken);
    poller.watch(*server_, kServerToken);
    serve(poller);
  } catch (const std::exception& error) {
    log_error("the state server's I/O thread failed: {}", error.what());
  }
  server_.reset();
  offer_.reset();
  std::lock_guard lock(mutex_);
  broken_ = true;
  for (Change& change : changes_) change.done.set_value();
  changes_.clear();
}

void BlobServer::serve(Poller& poller) {
  while (!stop_) {
    auto ready = poller.wait(backlog_.empty() ? -1 : 0);
    if (!ready) throw std::runtime_error(ready.error().message);
    for (const Poller::Token token : *ready) {
      if (token == kServerToken) {
        receive_burst();
      } else {
        std::uint64_t count = 0;
        (void)!read(wake_fd_.get(), &count, sizeof count);
      }
    }
    if (change_waits_) apply_change();
    if (backlog_.empty()) continue;
    Request request = std::move(backlog_.front());
    backlog_.pop_front();
    answer(std::move(request));
  }
}

void BlobServer::apply_change() {
  std::deque<Change> changes;
  {
    std::lock_guard lock(mutex_);
    changes.swap(changes_);
    change_waits_ = false;
  }
  bool replaced = false;
  for (Change& change : changes) {
    if (!change.amends) {
      replaced = true;
      offer_ = std::move(change.offer);
      if (offer_) newest_ = std::max(newest_, offer_->epoch());
    } else if (offer_ && offer_->grows()) {
      for (const BlobKey& key : change.dropped) offer_->drop(key);
      for (Blob& blob : change.added) offer_->add(std::move(blob));
    }
    change.added.clear();  // whoever waits for a later change may count on this one's memory being let go
    change.done.set_value();
  }
  if (replaced && (!offer_ || offer_->grows())) pool_->trim();  // the transfers of a change are over
  // The offer's requests, and what it has made stale, are seen to; answer() parks the others again.
  for (Request& request : parked_) backlog_.push_back(std::move(request));
  parked_.clear();
}

void BlobServer::receive_burst() {
  for (int i = 0; i < kRequestsAtOnce && !change_waits_ && !stop_; ++i) {
    auto incoming = server_->try_receive();
    if (!incoming) return;
    receive(*std::move(incoming));
  }
}

void BlobServer::receive(ServerChannel::Incoming incoming) {
  auto body = parse_body<BlobRequest>(incoming.message);
  if (!body) return report_stranger("what is no request for a blob");
  if (!same_secret(body->token, options_.token)) return report_stranger("a request without the job's token");
  answer({std::move(incoming.from), incoming.message.envelope, *std::move(body)});
}

void BlobServer::answer(Request request) {
  const GroupEpoch epoch = request.envelope.epoch;
  if (epoch > newest_) return park(std::move(request));
  if (!offer_ || epoch != offer_->epoch()) {
    return refuse(request, fmt::format("membership {} is over here", to_string(epoch)));
  }
  const auto found = offer_->find(request.body);
  if (!found) return refuse(request, found.error().message);
  if (std::holds_alternative<BlobOffer::Later>(*found)) return park(std::move(request));
  if (const auto* piece = std::get_if<BlobOffer::Piece>(&*found)) return answer_piece(request, *piece);
  answer_digest(std::move(request), std::get<BlobOffer::Digest>(*found).blob);
}

void BlobServer::park(Request request) {
  if (parked_.size() >= options_.max_parked) return refuse(request, "too many wait for what is to come");
  parked_.push_back(std::move(request));
}

void BlobServer::answer_piece(const Request& request, BlobOffer::Piece piece) {
  if (in_flight_.size() > kKnownPeers) {
    std::erase_if(in_flight_, [](const auto& entry) { return *entry.second == 0; });
  }
  auto& in_flight = in_flight_[request.from];
  if (!in_flight) in_flight = std::make_shared<std::atomic<std::size_t>>(0);
  if (*in_flight >= options_.max_in_flight) return refuse(request, "too many requests at a time");
  const auto buffer = std::make_shared<PieceBuffer>(pool_, in_flight);
  const BlobHash hash = offer_->copy(piece, {buffer->data(), kBlobPieceBytes});
  BlobChunk chunk{request.body.name,
                  request.body.version,
                  request.body.offset,
                  request.body.count,
                  offer_->total(piece.blob),
                  hash.high,
                  hash.low,
                  offer_->newest(request.body.name)};
  bytes_served_ += chunk.count;
  reply(request, chunk, {Frame(buffer, buffer->data(), chunk.count)});
}

void BlobServer::answer_digest(Request request, std::size_t blob) {
  const auto hash = offer_->digest(blob, kDigestPieces);
  if (!hash) {
    backlog_.push_back(std::move(request));
    return;
  }
  reply(request,
        BlobDigest{request.body.name, request.body.version, offer_->total(blob), hash->high, hash->low});
}

void BlobServer::refuse(const Request& request, std::string reason) {
  ++refused_;
  reply(request, BlobUnavailable{request.body.name, request.body.version, std::move(reason)});
}

template <class Body>
void BlobServer::reply(const Request& request, const Body& body, std::vector<Frame> payload) {
  Envelope envelope;
  envelope.job = request.envelope.job;
  envelope.epoch = request.envelope.epoch;
  envelope.sequence = request.envelope.sequence;
  // A peer that has gone does not wait for it.
  (void)server_->send(request.from, make_message(envelope, body, std::move(payload)));
}

void BlobServer::report_stranger(const char* why) {
  ++strangers_;
  if (const std::uint64_t count = throttle_.admit(SystemClock().now()); count != 0) {
    log_warning("ignored {} message{} to {}: {}", count, count == 1 ? "" : "s", endpoint_, why);
  }
}

}  // namespace seng
