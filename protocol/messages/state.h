// seng-actor <-> seng-actor: state that one pulls from another's state endpoint. The envelope's epoch says of
// which membership; a reply carries its request's sequence.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "protocol/messages/kinds.h"

namespace seng {

// Blobs travel in pieces of this many bytes, the last one shorter.
inline constexpr std::size_t kBlobPieceBytes = std::size_t{1} << 20;

// One piece of a blob (offset a multiple of kBlobPieceBytes, count its length), or with count 0 its digest. A
// holder that is not in that membership yet answers when it is; one that goes on making blobs in it, when it
// has that version.
struct BlobRequest {
  static constexpr MessageKind kKind = MessageKind::kBlobRequest;
  std::string token;  // the job's
  std::string name;
  std::uint64_t version = 0;
  std::uint64_t offset = 0, count = 0;
  template <class V>
  void visit(V& v) {
    v.field(1, "token", token, kMaxBlobNameBytes);
    v.field(2, "name", name, kMaxBlobNameBytes);
    v.field(3, "version", version);
    v.field(4, "offset", offset);
    v.field(5, "count", count);
  }
  static constexpr std::size_t kMaxBlobNameBytes = 1024;
};
// One payload frame of `count` bytes.
struct BlobChunk {
  static constexpr MessageKind kKind = MessageKind::kBlobChunk;
  std::string name;
  std::uint64_t version = 0;
  std::uint64_t offset = 0, count = 0, total = 0;  // bytes: this piece, and of the whole blob
  std::uint64_t hash_high = 0, hash_low = 0;       // XXH3, 128 bits, of the payload
  std::uint64_t newest = 0;                        // version of that name here
  template <class V>
  void visit(V& v) {
    v.field(1, "name", name, BlobRequest::kMaxBlobNameBytes);
    v.field(2, "version", version);
    v.field(3, "offset", offset);
    v.field(4, "count", count);
    v.field(5, "total", total);
    v.field(6, "hash_high", hash_high);
    v.field(7, "hash_low", hash_low);
    v.field(8, "newest", newest);
  }
};
struct BlobUnavailable {
  static constexpr MessageKind kKind = MessageKind::kBlobUnavailable;
  std::string name;
  std::uint64_t version = 0;
  std::string reason;
  template <class V>
  void visit(V& v) {
    v.field(1, "name", name);
    v.field(2, "version", version);
    v.field(3, "reason", reason);
  }
};
// XXH3, 128 bits, of the hashes of all pieces in order, each as 16 bytes: high, then low, little-endian.
struct BlobDigest {
  static constexpr MessageKind kKind = MessageKind::kBlobDigest;
  std::string name;
  std::uint64_t version = 0;
  std::uint64_t total = 0;  // bytes of the blob
  std::uint64_t hash_high = 0, hash_low = 0;
  template <class V>
  void visit(V& v) {
    v.field(1, "name", name, BlobRequest::kMaxBlobNameBytes);
    v.field(2, "version", version);
    v.field(3, "total", total);
    v.field(4, "hash_high", hash_high);
    v.field(5, "hash_low", hash_low);
  }
};

}  // namespace seng
