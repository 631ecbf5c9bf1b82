#include "actors/state/blob_fetch.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include <fmt/format.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "protocol/base/clock.h"
#include "protocol/channel/poller.h"
#include "protocol/messages/control.h"

namespace seng {
namespace {

constexpr int kPiecesAtOnce = 4;  // pieces of one holder before the others are heard
constexpr std::size_t kMaxWindow = 32;

double now() {
  return SystemClock().now();
}

int timeout_ms(std::optional<double> deadline) {
  if (!deadline) return -1;
  return static_cast<int>(std::clamp(std::ceil((*deadline - now()) * 1000), 0.0, 1e6));
}

}  // namespace

std::uint64_t FetchProgress::bytes() const {
  std::uint64_t sum = 0;
  for (const Entry& entry : entries_) {
    for (std::size_t i = 0; i < entry.hashes.size(); ++i) {
      if (entry.hashes[i]) sum += piece_bytes(entry.into.size(), i);
    }
  }
  return sum;
}

BlobFetch::BlobFetch(FetchOptions options, std::vector<BlobWant> wants)
    : options_(std::move(options)),
      wants_(std::move(wants)),
      states_(wants_.size()),
      wake_fd_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {}

BlobFetch::~BlobFetch() = default;

void BlobFetch::interrupt() {
  interrupted_ = true;
  const std::uint64_t one = 1;
  (void)!write(wake_fd_.get(), &one, sizeof one);  // cannot fail: the counter is far from its end
}

Result<FetchStats> BlobFetch::run() {
  if (!wake_fd_) return fail(errno_error("cannot make an eventfd for fetching state"));
  const double start = now();
  SENG_TRY(prepare());
  Poller poller;
  poller.watch_fd(wake_fd_.get(), options_.endpoints.size());
  SENG_TRY(connect(poller));
  SENG_TRY(transfer(poller));
  stats_.seconds = now() - start;
  return stats_;
}

Status BlobFetch::prepare() {
  std::vector<PieceSchedule::BlobPlan> plans;
  for (std::size_t i = 0; i < wants_.size(); ++i) {
    const BlobWant& want = wants_[i];
    for (const std::size_t holder : want.holders) {
      if (holder < options_.endpoints.size()) continue;
      return fail(ErrorCode::kInvalidArgument, fmt::format("{}: holder {} of {} endpoints", blob_name(i),
                                                           holder, options_.endpoints.size()));
    }
    restore(i);
    const FetchProgress::Entry& entry = progress_.entries_.back();
    if (entry.verified) {
      plans.push_back({.have = {}, .holders = {}, .verified = true});
      continue;
    }
    unverified_.push_back(i);
    auto& plan = plans.emplace_back(PieceSchedule::BlobPlan{{}, want.holders, false});
    for (const auto& hash : entry.hashes) plan.have.push_back(hash.has_value());
  }
  options_.window = std::clamp<std::size_t>(options_.window, 1, kMaxWindow);
  stats_.resumed_bytes = progress_.bytes();
  stats_.bytes_from.resize(options_.endpoints.size());
  links_.resize(options_.endpoints.size());
  schedule_.emplace(plans, options_.endpoints.size(), options_.window, options_.stall_s);
  return {};
}

void BlobFetch::restore(std::size_t index) {
  const BlobWant& want = wants_[index];
  FetchProgress::Entry& entry = progress_.entries_.emplace_back();
  entry = {want.name, want.version, want.into, {}, false};
  for (FetchProgress::Entry& old : options_.resume.entries_) {
    if (old.name != want.name || old.version != want.version || old.into.data() != want.into.data() ||
        old.into.size() != want.into.size()) {
      continue;
    }
    entry.hashes = std::move(old.hashes);
    entry.verified = old.verified;
  }
  entry.hashes.resize(piece_count(want.into.size()));
}

Status BlobFetch::connect(Poller& poller) {
  std::vector<bool> used(links_.size());
  for (const std::size_t want : unverified_) {
    for (const std::size_t holder : wants_[want].holders) used[holder] = true;
  }
  // One of ZeroMQ's threads cannot keep up with several holders.
  context_.emplace(std::count(used.begin(), used.end(), true) > 1 ? 2 : 1);
  for (std::size_t i = 0; i < links_.size(); ++i) {
    if (!used[i]) continue;
    // Nothing asked for is ever queued beyond the window; a peer that sends more is made to wait.
    auto channel =
        connect_client(*context_, options_.endpoints[i],
                       {.queue_limit = static_cast<int>(4 * options_.window + 16), .linger_ms = 0});
    if (!channel) return fail(std::move(channel).error());
    links_[i].channel = *std::move(channel);
    poller.watch(*links_[i].channel, i);
  }
  return {};
}

Status BlobFetch::transfer(Poller& poller) {
  for (;;) {
    SENG_TRY(verify_closed());
    if (unverified_.empty()) return {};
    if (interrupted_) return fail(ErrorCode::kCancelled, "fetching state was interrupted");
    if (const auto want = schedule_->stuck()) return fail(stuck_error(*want));
    ask();
    auto ready = poller.wait(timeout_ms(schedule_->deadline()));
    if (!ready) return fail(std::move(ready).error());
    for (const Poller::Token token : *ready) {
      if (token < links_.size()) receive(token);
    }
    for (const std::size_t holder : schedule_->expire(now())) links_[holder].silent = true;
  }
}

void BlobFetch::ask() {
  while (const auto ask = schedule_->next(now())) {
    const BlobWant& want = wants_[ask->blob];
    BlobRequest request{options_.token, want.name, want.version, 0, 0};
    if (ask->piece != kDigestPiece) {
      request.offset = ask->piece * kBlobPieceBytes;
      request.count = piece_bytes(want.into.size(), ask->piece);
    }
    Link& link = links_[ask->holder];
    Envelope envelope;
    envelope.job = options_.job;
    envelope.epoch = options_.epoch;
    envelope.from = options_.self;
    envelope.sequence = ++link.sequence;
    link.pending[envelope.sequence] = *ask;
    const auto sent = link.channel->send(make_message(envelope, request));
    if (sent && *sent == Sent::kQueued) continue;
    states_[ask->blob].failures[ask->holder] = {ErrorCode::kUnavailable,
                                                sent ? "its queue is full" : sent.error().message};
    schedule_->lost(ask->holder);
  }
}

void BlobFetch::receive(std::size_t holder) {
  for (int i = 0; i < kPiecesAtOnce && !interrupted_; ++i) {
    const auto message = links_[holder].channel->try_receive();
    if (!message) return;
    handle(holder, *message);
    ask();
  }
}

void BlobFetch::handle(std::size_t holder, const Message& message) {
  Link& link = links_[holder];
  const Envelope& envelope = message.envelope;
  const auto found = link.pending.find(envelope.sequence);
  const bool refusal = envelope.kind == static_cast<std::uint16_t>(MessageKind::kError);
  if (found == link.pending.end() ||
      (!refusal && (envelope.job != options_.job || envelope.epoch != options_.epoch))) {
    ++stats_.strays;
    return;
  }
  const PieceAsk ask = found->second;
  link.pending.erase(found);
  link.silent = false;
  std::optional<Failure> failure;
  if (const auto unavailable = parse_body<BlobUnavailable>(message)) {
    failure = {ErrorCode::kUnavailable, unavailable->reason};
  } else if (!schedule_->wanted(ask)) {
    ++stats_.duplicates;
    (void)schedule_->taken(ask, now());
    return;
  } else {
    failure = ask.piece == kDigestPiece ? take_digest(ask, message) : take_piece(ask, message);
  }
  if (failure) {
    // The first is the closest to the cause.
    states_[ask.blob].failures.emplace(holder, *std::move(failure));
    schedule_->refused(ask, now());
  } else {
    (void)schedule_->taken(ask, now());
  }
}

BlobFetch::Failure BlobFetch::wrong_size(std::uint64_t total, std::size_t wanted) {
  return {ErrorCode::kCorrupt,
          fmt::format("its blob has {} bytes, not the {} that are wanted", total, wanted)};
}

BlobFetch::Failure BlobFetch::not_asked_for() {
  return {ErrorCode::kCorrupt, "it answered with what was not asked for"};
}

std::optional<BlobFetch::Failure> BlobFetch::take_piece(const PieceAsk& ask, const Message& message) {
  const BlobWant& want = wants_[ask.blob];
  const auto chunk = parse_body<BlobChunk>(message);
  if (!chunk) return Failure{ErrorCode::kCorrupt, chunk.error().message};
  if (chunk->total != want.into.size()) return wrong_size(chunk->total, want.into.size());
  const auto into = piece_of(want.into, ask.piece);
  if (chunk->name != want.name || chunk->version != want.version ||
      chunk->offset != ask.piece * kBlobPieceBytes || chunk->count != into.size() ||
      message.payload.size() != 1 || message.payload.front().size() != into.size()) {
    return not_asked_for();
  }
  const BlobHash hash = copy_and_hash(into, message.payload.front().bytes());
  if (hash != BlobHash{chunk->hash_high, chunk->hash_low}) {
    return Failure{ErrorCode::kCorrupt, fmt::format("{} bytes at {} do not have the hash that it states",
                                                    into.size(), chunk->offset)};
  }
  progress_.entries_[ask.blob].hashes[ask.piece] = hash;
  stats_.bytes += into.size();
  if (options_.pieces != nullptr) options_.pieces->fetch_add(1, std::memory_order_relaxed);
  stats_.bytes_from[ask.holder] += into.size();
  return std::nullopt;
}

std::optional<BlobFetch::Failure> BlobFetch::take_digest(const PieceAsk& ask, const Message& message) {
  const BlobWant& want = wants_[ask.blob];
  const auto digest = parse_body<BlobDigest>(message);
  if (!digest) return Failure{ErrorCode::kCorrupt, digest.error().message};
  if (digest->name != want.name || digest->version != want.version) return not_asked_for();
  if (digest->total != want.into.size()) return wrong_size(digest->total, want.into.size());
  states_[ask.blob].digests[ask.holder] = {digest->hash_high, digest->hash_low};
  return std::nullopt;
}

Status BlobFetch::verify_closed() {
  for (const std::size_t want : unverified_) {
    if (!schedule_->closed(want)) continue;
    if (Status verified = verify(want); !verified) {
      // Some of it is wrong, and nobody knows which.
      progress_.entries_[want].hashes.assign(progress_.entries_[want].hashes.size(), std::nullopt);
      return verified;
    }
    progress_.entries_[want].verified = true;
  }
  std::erase_if(unverified_, [&](std::size_t want) { return progress_.entries_[want].verified; });
  return {};
}

Status BlobFetch::verify(std::size_t want) {
  const auto& digests = states_[want].digests;
  const auto& [first, stated] = *digests.begin();
  for (const auto& [holder, hash] : digests) {
    if (hash == stated) continue;
    return fail(
        ErrorCode::kCorrupt,
        fmt::format("{}: {} states the hash {}, but {} states {}", blob_name(want), options_.endpoints[first],
                    to_string(stated), options_.endpoints[holder], to_string(hash)));
  }
  std::vector<BlobHash> pieces;
  for (const auto& hash : progress_.entries_[want].hashes) pieces.push_back(*hash);
  const BlobHash own = hash_of_pieces(pieces);
  if (own == stated) return {};
  return fail(ErrorCode::kCorrupt,
              fmt::format("{}: what was received has the hash {}, but {} states {}", blob_name(want),
                          to_string(own), options_.endpoints[first], to_string(stated)));
}

Error BlobFetch::stuck_error(std::size_t want) const {
  const BlobWant& blob = wants_[want];
  if (blob.holders.empty()) return {ErrorCode::kUnavailable, blob_name(want) + ": it has no holder"};
  ErrorCode code = ErrorCode::kTimeout;
  std::string text;
  for (const std::size_t holder : blob.holders) {
    const auto failure = states_[want].failures.find(holder);
    std::string why = fmt::format("nothing came of it for {} s", options_.stall_s);
    if (failure != states_[want].failures.end()) {
      why = failure->second.text;
      if (code != ErrorCode::kCorrupt) code = failure->second.code;
    } else if (!links_[holder].silent) {
      why = "the connection to it was lost";
    }
    text += fmt::format("{}{}: {}", text.empty() ? "" : "; ", options_.endpoints[holder], why);
  }
  return {code, fmt::format("{}: no holder can serve it ({})", blob_name(want), text)};
}

std::string BlobFetch::blob_name(std::size_t want) const {
  return fmt::format("blob {}, version {}", wants_[want].name, wants_[want].version);
}

}  // namespace seng
