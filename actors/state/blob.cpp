#include "actors/state/blob.h"

#include <cstring>

#include <fmt/format.h>
#if defined(__x86_64__)
#include <xxh_x86dispatch.h>  // XXH3 with the vector instructions that the processor has
#else
#include <xxhash.h>
#endif

namespace seng {
namespace {

BlobHash hash_bytes(const void* data, std::size_t size) {
  const XXH128_hash_t hash = XXH3_128bits(data, size);
  return {hash.high64, hash.low64};
}

}  // namespace

std::string to_string(const BlobHash& hash) {
  return fmt::format("{:016x}{:016x}", hash.high, hash.low);
}

BlobHash hash_piece(std::span<const std::byte> piece) {
  return hash_bytes(piece.data(), piece.size());
}

BlobHash copy_and_hash(std::span<std::byte> into, std::span<const std::byte> from) {
  if (from.empty()) return hash_piece({});
  std::memcpy(into.data(), from.data(), from.size());
  return hash_bytes(into.data(), into.size());
}

BlobHash hash_of_pieces(std::span<const BlobHash> pieces) {
  std::vector<unsigned char> bytes;
  bytes.reserve(pieces.size() * 16);
  for (const BlobHash& piece : pieces) {
    for (const std::uint64_t half : {piece.high, piece.low}) {
      for (int shift = 0; shift < 64; shift += 8) bytes.push_back(static_cast<unsigned char>(half >> shift));
    }
  }
  return hash_bytes(bytes.data(), bytes.size());
}

}  // namespace seng
