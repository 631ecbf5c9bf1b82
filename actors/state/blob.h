// A blob: named, versioned bytes that actors hand to each other. Nothing here knows what is inside.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "protocol/messages/state.h"

namespace seng {

// Equal name and version mean equal bytes, whoever holds them.
struct Blob {
  std::string name;  // at most 1024 bytes
  std::uint64_t version = 0;
  std::span<const std::byte> bytes;
  std::shared_ptr<const void> owner = nullptr;  // keeps the bytes; null: whoever offers them does
};
struct BlobKey {
  std::string name;
  std::uint64_t version = 0;
  auto operator<=>(const BlobKey&) const = default;
};

// XXH3, 128 bits. Finds what a disk, a network or a bug has changed; it is no defence against an attacker.
struct BlobHash {
  std::uint64_t high = 0, low = 0;
  auto operator<=>(const BlobHash&) const = default;
};
std::string to_string(const BlobHash& hash);  // 32 hex digits

// How a blob of `bytes` bytes is cut.
constexpr std::size_t piece_count(std::size_t bytes) {
  return bytes / kBlobPieceBytes + (bytes % kBlobPieceBytes != 0);
}
constexpr std::size_t piece_bytes(std::size_t bytes, std::size_t piece) {
  const std::size_t left = bytes - piece * kBlobPieceBytes;
  return left < kBlobPieceBytes ? left : kBlobPieceBytes;
}
template <class Byte>
std::span<Byte> piece_of(std::span<Byte> bytes, std::size_t piece) {
  return bytes.subspan(piece * kBlobPieceBytes, piece_bytes(bytes.size(), piece));
}

// Pieces of one connection that a holder has given to ZeroMQ and that have not been sent yet; more are
// refused. So many may be asked for at a time: what is received may be asked for anew before the holder has
// noted that it has left.
inline constexpr std::size_t kMostPiecesInFlight = 64, kMostPiecesAsked = kMostPiecesInFlight / 2;

BlobHash hash_piece(std::span<const std::byte> piece);
// Copies a piece and hashes the copy while it is in the cache. `into` is as long as `from`, apart from it.
BlobHash copy_and_hash(std::span<std::byte> into, std::span<const std::byte> from);
// A blob's hash from those of its pieces, see BlobDigest.
BlobHash hash_of_pieces(std::span<const BlobHash> pieces);

}  // namespace seng
