// Which piece of which blob to ask of whom next. Pure: no sockets, no clock of its own, no bytes.
//
// A blob's pieces are divided among its holders as they go: whoever has room in its window gets the next one,
// so a faster holder does more. Of the blobs that a holder can serve, those with fewer holders go first, so
// that the only holder of something does not spend its time on what others have too. When all pieces of a
// blob are here, every holder that served some of them is asked for the blob's digest; where none of them can
// be, any other holder.
//
//   a piece:   free --next()--> asked --taken()--> done
//                ^----refused(), stall, lost()---'
//
// A holder that says nothing for stall_s while something is asked of it has stalled: it gets nothing new and
// what it was asked for is asked of others. Whatever it says later counts (a piece that is still missing is
// taken) and makes it a holder like any other again.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <utility>
#include <vector>

namespace seng {

// In the place of a piece's number: the blob's digest.
inline constexpr std::size_t kDigestPiece = static_cast<std::size_t>(-1);

struct PieceAsk {
  std::size_t holder = 0, blob = 0, piece = 0;
};

class PieceSchedule {
 public:
  struct BlobPlan {
    std::vector<bool> have;            // one for each piece: it is here already
    std::vector<std::size_t> holders;  // below `holders`; one that is named twice counts once
    bool verified = false;             // nothing is missing, not even the digest
  };

  // `window` (at least 1): what may be asked of one holder at a time.
  PieceSchedule(const std::vector<BlobPlan>& blobs, std::size_t holders, std::size_t window, double stall_s);

  // The next thing to ask, noted as asked; nullopt: nothing for now. `now` in seconds, never going back.
  std::optional<PieceAsk> next(double now);

  // Whether the reply to this is of use: it was asked of that holder, is unanswered, and still missing.
  bool wanted(const PieceAsk& ask) const;
  // The holder has answered well. False (and only noted as a sign of life) where it was not wanted.
  bool taken(const PieceAsk& ask, double now);
  // The holder has said no, or what it sent is wrong: it is not asked for that blob again.
  void refused(const PieceAsk& ask, double now);
  // Nothing will come of this holder any more.
  void lost(std::size_t holder);
  // Those that have stalled now; call it when deadline() has passed.
  std::vector<std::size_t> expire(double now);
  // When the next holder stalls; nullopt: nothing is asked of any.
  std::optional<double> deadline() const;

  bool pieces_complete(std::size_t blob) const { return blobs_[blob].left == 0; }
  // Its pieces are here and whoever should state its digest has.
  bool closed(std::size_t blob) const { return blobs_[blob].closed; }
  bool complete() const { return open_ == 0; }
  // A blob that nobody who is left can serve.
  std::optional<std::size_t> stuck() const;

 private:
  enum class Piece : unsigned char { kFree, kAsked, kDone };
  enum class Digest : unsigned char { kNone, kAsked, kStated };
  struct Share {  // one holder's in one blob
    std::size_t holder = 0;
    bool able = true, served = false;
    Digest digest = Digest::kNone;
  };
  struct BlobState {
    std::vector<Piece> pieces;
    std::vector<std::size_t> returned;  // free again; may hold some that are not free any more
    std::size_t next_fresh = 0;         // no piece from here on has been asked of anybody
    std::size_t left = 0;
    std::vector<Share> shares;
    bool closed = false;
  };
  enum class Life { kLive, kStalled, kLost };
  // (blob, piece) -> whether the holder stalled, or was found unable, since: the piece is free for others.
  using Asks = std::map<std::pair<std::size_t, std::size_t>, bool>;
  struct HolderState {
    Life life = Life::kLive;
    double heard_at = 0;             // or when it was first asked, having nothing to say before
    std::vector<std::size_t> order;  // its blobs, those with fewer holders first
    std::size_t first_open = 0;      // in `order`: nothing to ask before it
    Asks asks;
  };

  std::optional<PieceAsk> next_of(std::size_t holder);
  std::optional<std::size_t> take_free_piece(std::size_t blob, const Asks& owed);
  bool wants_digest(const BlobState& blob, const Share& share) const;
  bool usable(const Share& share) const;
  Share* share_of(std::size_t blob, std::size_t holder);
  void heard(std::size_t holder, double now);
  void abandon(std::size_t holder, std::optional<std::size_t> only_blob);
  void close_if_done(std::size_t blob);
  void close_where_done(std::size_t holder);

  std::vector<BlobState> blobs_;
  std::vector<HolderState> holders_;
  const std::size_t window_;
  const double stall_s_;
  std::size_t open_ = 0;
};

}  // namespace seng
