#include "actors/state/piece_schedule.h"

#include <algorithm>

#include "protocol/base/error.h"

namespace seng {

PieceSchedule::PieceSchedule(const std::vector<BlobPlan>& blobs, std::size_t holders, std::size_t window,
                             double stall_s)
    : blobs_(blobs.size()), holders_(holders), window_(window), stall_s_(stall_s), open_(blobs.size()) {
  SENG_CHECK(window > 0, "a window of nothing");
  for (std::size_t i = 0; i < blobs.size(); ++i) {
    BlobState& blob = blobs_[i];
    if (blobs[i].verified) {
      blob.closed = true;
      --open_;
      continue;
    }
    for (const bool have : blobs[i].have) {
      blob.pieces.push_back(have ? Piece::kDone : Piece::kFree);
      blob.left += !have;
    }
    for (const std::size_t holder : blobs[i].holders) {
      SENG_CHECK(holder < holders, "a holder that does not exist");
      if (share_of(i, holder)) continue;
      blob.shares.push_back({holder});
      holders_[holder].order.push_back(i);
    }
  }
  for (HolderState& holder : holders_) {
    std::stable_sort(holder.order.begin(), holder.order.end(), [&](std::size_t a, std::size_t b) {
      return blobs_[a].shares.size() < blobs_[b].shares.size();
    });
  }
}

std::optional<PieceAsk> PieceSchedule::next(double now) {
  // Whoever has the least to do first, so that little work is spread.
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < holders_.size(); ++i) {
    if (holders_[i].life == Life::kLive && holders_[i].asks.size() < window_) order.push_back(i);
  }
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return holders_[a].asks.size() < holders_[b].asks.size();
  });
  for (const std::size_t holder : order) {
    const auto ask = next_of(holder);
    if (!ask) continue;
    HolderState& state = holders_[holder];
    if (state.asks.empty()) state.heard_at = now;
    state.asks[{ask->blob, ask->piece}] = false;
    return ask;
  }
  return std::nullopt;
}

std::optional<PieceAsk> PieceSchedule::next_of(std::size_t holder) {
  HolderState& state = holders_[holder];
  bool only_closed = true;
  for (std::size_t i = state.first_open; i < state.order.size(); ++i) {
    const std::size_t index = state.order[i];
    BlobState& blob = blobs_[index];
    if (only_closed && blob.closed) state.first_open = i + 1;
    if (blob.closed) continue;
    only_closed = false;
    Share& share = *share_of(index, holder);
    if (!share.able) continue;
    if (blob.left == 0) {
      if (!wants_digest(blob, share) || state.asks.contains({index, kDigestPiece})) continue;
      share.digest = Digest::kAsked;
      return PieceAsk{holder, index, kDigestPiece};
    }
    const auto piece = take_free_piece(index, state.asks);
    if (!piece) continue;
    blob.pieces[*piece] = Piece::kAsked;
    return PieceAsk{holder, index, *piece};
  }
  return std::nullopt;
}

// What the holder owes an answer to since before it stalled is not asked of it once more.
std::optional<std::size_t> PieceSchedule::take_free_piece(std::size_t index, const Asks& owed) {
  BlobState& blob = blobs_[index];
  std::erase_if(blob.returned, [&](std::size_t piece) { return blob.pieces[piece] != Piece::kFree; });
  const auto found = std::find_if(blob.returned.begin(), blob.returned.end(), [&](std::size_t piece) {
    return !owed.contains({index, piece});
  });
  if (found != blob.returned.end()) {
    const std::size_t piece = *found;
    blob.returned.erase(found);
    return piece;
  }
  while (blob.next_fresh < blob.pieces.size()) {
    const std::size_t piece = blob.next_fresh++;
    if (blob.pieces[piece] == Piece::kFree) return piece;
  }
  return std::nullopt;
}

bool PieceSchedule::usable(const Share& share) const {
  return share.able && holders_[share.holder].life == Life::kLive;
}

bool PieceSchedule::wants_digest(const BlobState& blob, const Share& share) const {
  if (share.digest != Digest::kNone) return false;
  if (share.served) return true;
  return std::none_of(blob.shares.begin(), blob.shares.end(), [&](const Share& other) {
    return other.digest == Digest::kStated ||
           (usable(other) && (other.served || other.digest == Digest::kAsked));
  });
}

bool PieceSchedule::wanted(const PieceAsk& ask) const {
  if (!holders_[ask.holder].asks.contains({ask.blob, ask.piece})) return false;
  const BlobState& blob = blobs_[ask.blob];
  if (ask.piece == kDigestPiece) return !blob.closed;
  return blob.pieces[ask.piece] != Piece::kDone;
}

bool PieceSchedule::taken(const PieceAsk& ask, double now) {
  const bool of_use = wanted(ask);
  heard(ask.holder, now);
  holders_[ask.holder].asks.erase({ask.blob, ask.piece});
  if (!of_use) return false;
  BlobState& blob = blobs_[ask.blob];
  Share& share = *share_of(ask.blob, ask.holder);
  if (ask.piece == kDigestPiece) {
    share.digest = Digest::kStated;
  } else {
    share.served = true;
    blob.pieces[ask.piece] = Piece::kDone;
    --blob.left;
  }
  close_if_done(ask.blob);
  return true;
}

void PieceSchedule::refused(const PieceAsk& ask, double now) {
  if (!holders_[ask.holder].asks.contains({ask.blob, ask.piece})) return;
  heard(ask.holder, now);
  share_of(ask.blob, ask.holder)->able = false;
  abandon(ask.holder, ask.blob);
  holders_[ask.holder].asks.erase({ask.blob, ask.piece});
  close_if_done(ask.blob);
}

void PieceSchedule::lost(std::size_t holder) {
  if (holders_[holder].life == Life::kLost) return;
  holders_[holder].life = Life::kLost;
  abandon(holder, std::nullopt);
  holders_[holder].asks.clear();
  close_where_done(holder);
}

std::vector<std::size_t> PieceSchedule::expire(double now) {
  std::vector<std::size_t> stalled;
  for (std::size_t i = 0; i < holders_.size(); ++i) {
    HolderState& holder = holders_[i];
    if (holder.life != Life::kLive || holder.asks.empty() || now < holder.heard_at + stall_s_) continue;
    holder.life = Life::kStalled;
    abandon(i, std::nullopt);
    stalled.push_back(i);
  }
  for (const std::size_t holder : stalled) close_where_done(holder);
  return stalled;
}

std::optional<double> PieceSchedule::deadline() const {
  std::optional<double> first;
  for (const HolderState& holder : holders_) {
    if (holder.life != Life::kLive || holder.asks.empty()) continue;
    const double at = holder.heard_at + stall_s_;
    if (!first || at < *first) first = at;
  }
  return first;
}

std::optional<std::size_t> PieceSchedule::stuck() const {
  for (std::size_t i = 0; i < blobs_.size(); ++i) {
    if (blobs_[i].closed) continue;
    const auto& shares = blobs_[i].shares;
    if (std::none_of(shares.begin(), shares.end(), [&](const Share& share) { return usable(share); }))
      return i;
  }
  return std::nullopt;
}

PieceSchedule::Share* PieceSchedule::share_of(std::size_t blob, std::size_t holder) {
  for (Share& share : blobs_[blob].shares) {
    if (share.holder == holder) return &share;
  }
  return nullptr;
}

void PieceSchedule::heard(std::size_t holder, double now) {
  HolderState& state = holders_[holder];
  state.heard_at = now;
  if (state.life == Life::kStalled) state.life = Life::kLive;
}

// What was asked becomes free for others; the answer may still come.
void PieceSchedule::abandon(std::size_t holder, std::optional<std::size_t> only_blob) {
  for (auto& [key, abandoned] : holders_[holder].asks) {
    const auto [index, piece] = key;
    if (abandoned || (only_blob && index != *only_blob)) continue;
    abandoned = true;
    BlobState& blob = blobs_[index];
    if (piece == kDigestPiece) {
      share_of(index, holder)->digest = Digest::kNone;
    } else if (blob.pieces[piece] == Piece::kAsked) {
      blob.pieces[piece] = Piece::kFree;
      blob.returned.push_back(piece);
    }
  }
}

void PieceSchedule::close_if_done(std::size_t index) {
  BlobState& blob = blobs_[index];
  if (blob.closed || blob.left > 0) return;
  bool stated = false, awaited = false;
  for (const Share& share : blob.shares) {
    if (share.digest == Digest::kStated) {
      stated = true;
    } else if (share.served && usable(share)) {
      awaited = true;
    }
  }
  if (!stated || awaited) return;
  blob.closed = true;
  --open_;
}

void PieceSchedule::close_where_done(std::size_t holder) {
  for (const std::size_t blob : holders_[holder].order) close_if_done(blob);
}

}  // namespace seng
