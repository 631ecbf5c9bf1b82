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

// Belongs to one thread. The blobs' bytes stay unchanged as long as they are in it.
class BlobOffer {
 public:
  // `grows`: blobs will be added; one that is not there, and never was, may come yet.
  BlobOffer(GroupEpoch epoch, std::vector<Blob> blobs, bool grows = false);

  GroupEpoch epoch() const { return epoch_; }
  bool grows() const { return grows_; }
  void add(Blob blob);
  void drop(const BlobKey& key);  // if it is there

  struct Piece {
    std::size_t blob = 0, piece = 0;
  };
  struct Digest {
    std::size_t blob = 0;
  };
  // Of an offer that grows: a name that was never there, or a version above all that were.
  struct Later {};
  // What the request asks for; the error's message is the reason that the peer is told.
  Result<std::variant<Piece, Digest, Later>> find(const BlobRequest& request) const;

  std::uint64_t total(std::size_t blob) const { return blobs_.at(blob).bytes.size(); }
  std::uint64_t newest(const std::string& name) const;  // version that ever was there
  // Copies the piece to `into` (at least as long) and returns its hash.
  BlobHash copy(Piece piece, std::span<std::byte> into);
  // The blob's hash once all its pieces are hashed; one call hashes at most `pieces` of them. Nothing is
  // hashed twice.
  std::optional<BlobHash> digest(std::size_t blob, std::size_t pieces);

 private:
  struct Entry {
    std::span<const std::byte> bytes;
    std::shared_ptr<const void> owner;
    std::vector<std::optional<BlobHash>> hashes;  // of the pieces, as they are needed
    std::size_t hashed = 0;                       // from the first on, without a gap
    std::optional<BlobHash> whole;
  };

  // The versions of a name that are here, and the newest that ever was.
  struct Named {
    std::map<std::uint64_t, std::size_t> versions;  // version -> key in blobs_
    std::uint64_t newest = 0;
  };

  const GroupEpoch epoch_;
  const bool grows_;
  std::map<std::size_t, Entry> blobs_;
  std::size_t next_ = 0;
  std::map<std::string, Named> by_name_;
};

}  // namespace seng
