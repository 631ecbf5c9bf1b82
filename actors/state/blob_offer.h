// What a holder offers in one membership, and what it says to a request for it. Pure, but for the hashing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "actors/state/blob.h"
#include "protocol/base/error.h"
#include "protocol/base/ids.h"

namespace seng {

// Belongs to one thread. The blobs' bytes stay unchanged as long as it lives.
class BlobOffer {
 public:
  BlobOffer(GroupEpoch epoch, std::vector<Blob> blobs);

  GroupEpoch epoch() const { return epoch_; }

  struct Piece {
    std::size_t blob = 0, piece = 0;
  };
  struct Digest {
    std::size_t blob = 0;
  };
  // What the request asks for; the error's message is the reason that the peer is told.
  Result<std::variant<Piece, Digest>> find(const BlobRequest& request) const;

  std::uint64_t total(std::size_t blob) const { return blobs_[blob].bytes.size(); }
  // Copies the piece to `into` (at least as long) and returns its hash.
  BlobHash copy(Piece piece, std::span<std::byte> into);
  // The blob's hash once all its pieces are hashed; one call hashes at most `pieces` of them. Nothing is
  // hashed twice.
  std::optional<BlobHash> digest(std::size_t blob, std::size_t pieces);

 private:
  struct Entry {
    std::span<const std::byte> bytes;
    std::vector<std::optional<BlobHash>> hashes;  // of the pieces, as they are needed
    std::size_t hashed = 0;                       // from the first on, without a gap
    std::optional<BlobHash> whole;
  };

  const GroupEpoch epoch_;
  std::vector<Entry> blobs_;
  std::map<std::string, std::map<std::uint64_t, std::size_t>> by_name_;  // name -> version -> index
};

}  // namespace seng
