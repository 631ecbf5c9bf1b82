#include "actors/state/blob_stream.h"

#include <algorithm>
#include <chrono>

#include <fmt/format.h>
#include <sys/eventfd.h>
#include <unistd.h>

namespace seng {
namespace {

constexpr Poller::Token kStreamWakeToken = 0, kChannelToken = 1;

}  // namespace

Result<std::unique_ptr<BlobStream>> BlobStream::open(BlobStreamOptions options) {
  std::unique_ptr<BlobStream> stream(new BlobStream(std::move(options)));
  stream->wake_fd_.reset(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  if (!stream->wake_fd_) return fail(errno_error("cannot make an eventfd to follow a peer"));
  auto channel = connect_client(stream->context_, stream->options_.endpoint, {.linger_ms = 0});
  if (!channel) return fail(std::move(channel).error());
  stream->channel_ = *std::move(channel);
  stream->poller_.watch_fd(stream->wake_fd_.get(), kStreamWakeToken);
  stream->poller_.watch(*stream->channel_, kChannelToken);
  stream->ask();
  return stream;
}

BlobStream::BlobStream(BlobStreamOptions options)
    : options_(std::move(options)),
      pieces_(piece_count(options_.bytes)),
      next_(options_.first),
      ask_next_{options_.first, 0} {
  SENG_CHECK(options_.bytes > 0 && options_.window > 0 && options_.ahead > 0, "a stream of nothing");
  SENG_CHECK(options_.window <= kMostPiecesAsked, "more pieces at a time than a holder gives");
}

void BlobStream::interrupt() {
  interrupted_ = true;
  const std::uint64_t one = 1;
  (void)!write(wake_fd_.get(), &one, sizeof one);
}

BlobStream::Slot BlobStream::fresh_slot() {
  Slot slot;
  slot.data.resize(options_.bytes);
  slot.here.assign(pieces_, false);
  slot.missing = pieces_;
  return slot;
}

void BlobStream::ask() {
  while (outstanding_.size() < options_.window && ask_next_.first < next_ + options_.ahead) {
    auto& [version, piece] = ask_next_;
    while (slots_.size() <= version - next_) slots_.push_back(fresh_slot());
    BlobRequest request;
    request.token = options_.token;
    request.name = options_.name;
    request.version = version;
    request.offset = piece * kBlobPieceBytes;
    request.count = piece_bytes(options_.bytes, piece);
    Envelope envelope;
    envelope.job = options_.job;
    envelope.epoch = options_.epoch;
    envelope.from = options_.self;
    envelope.sequence = ++sequence_;
    outstanding_[sequence_] = ask_next_;
    (void)channel_->send(make_message(envelope, request));
    if (++piece == pieces_) ++version, piece = 0;
  }
}

Result<std::span<const std::byte>> BlobStream::next(int patience_ms) {
  using Clock = std::chrono::steady_clock;
  const auto until = Clock::now() + std::chrono::milliseconds(patience_ms);
  given_.reset();
  while (true) {
    ask();
    while (auto message = channel_->try_receive()) SENG_TRY(receive(*message));
    if (!slots_.empty() && slots_.front().missing == 0) {
      given_ = std::move(slots_.front());
      slots_.pop_front();
      ++next_;
      return std::span<const std::byte>(given_->data);
    }
    if (interrupted_.exchange(false)) return fail(ErrorCode::kCancelled, "interrupted");
    if (outstanding_.size() < options_.window && ask_next_.first < next_ + options_.ahead) continue;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now()).count();
    if (patience_ms >= 0 && left <= 0) return fail(ErrorCode::kTimeout, "the next version takes its time");
    auto ready = poller_.wait(patience_ms < 0 ? -1 : static_cast<int>(left));
    if (!ready) return fail(std::move(ready).error());
    std::uint64_t count = 0;
    (void)!read(wake_fd_.get(), &count, sizeof count);
  }
}

Status BlobStream::receive(const Message& message) {
  const auto found = outstanding_.find(message.envelope.sequence);
  if (found == outstanding_.end()) return {};
  const auto [version, piece] = found->second;
  const std::string what = fmt::format("version {} of {}", version, options_.name);
  if (const auto refused = parse_body<BlobUnavailable>(message))
    return fail(ErrorCode::kUnavailable, what + " cannot be had: " + refused->reason);
  const auto chunk = parse_body<BlobChunk>(message);
  const std::size_t size = piece_bytes(options_.bytes, piece);
  const bool fits = chunk && chunk->version == version && chunk->name == options_.name &&
                    chunk->offset == piece * kBlobPieceBytes && chunk->count == size &&
                    chunk->total == options_.bytes && message.payload.size() == 1 &&
                    message.payload.front().size() == size;
  if (!fits) return fail(ErrorCode::kCorrupt, what + ": an answer that does not fit");
  outstanding_.erase(found);
  newest_ = std::max(newest_, chunk->newest);
  Slot& slot = slots_[version - next_];
  if (slot.here[piece]) return {};
  const auto into = piece_of(std::span<std::byte>(slot.data), piece);
  const BlobHash hash = copy_and_hash(into, message.payload.front().bytes());
  if (hash != BlobHash{chunk->hash_high, chunk->hash_low})
    return fail(ErrorCode::kCorrupt, what + ": a piece whose hash is wrong");
  slot.here[piece] = true;
  --slot.missing;
  received_ += size;
  if (options_.pieces_counter != nullptr) options_.pieces_counter->fetch_add(1, std::memory_order_relaxed);
  return {};
}

}  // namespace seng
