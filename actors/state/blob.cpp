#include "actors/state/blob.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <new>

#include <fmt/format.h>
#if defined(__x86_64__)
#include <xxh_x86dispatch.h>  // XXH3 with the vector instructions that the processor has
#else
#include <xxhash.h>
#endif

namespace seng {
namespace {

// Copied, then hashed before they leave the second-level cache: the hash then costs next to nothing.
constexpr std::size_t kCachedBytes = 64 << 10;

struct FreeState {
  void operator()(XXH3_state_t* state) const { XXH3_freeState(state); }
};
using HashState = std::unique_ptr<XXH3_state_t, FreeState>;

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
  if (from.size() <= kCachedBytes) {
    if (!from.empty()) std::memcpy(into.data(), from.data(), from.size());
    return hash_piece(into);
  }
  const HashState state(XXH3_createState());
  if (!state) throw std::bad_alloc();
  XXH3_128bits_reset(state.get());
  for (std::size_t at = 0; at < from.size(); at += kCachedBytes) {
    const std::size_t size = std::min(kCachedBytes, from.size() - at);
    std::memcpy(&into[at], &from[at], size);
    XXH3_128bits_update(state.get(), &into[at], size);
  }
  const XXH128_hash_t hash = XXH3_128bits_digest(state.get());
  return {hash.high64, hash.low64};
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
