// What the fuzzers of one conversation's bodies share: the first byte chooses the message, the rest is its
// body. Whatever decodes must come out of encoding and decoding again as it went in.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <span>

#include "tests/protocol/body_table.h"

namespace seng {

inline void require(bool condition) {
  if (!condition) std::abort();
}

inline void fuzz_body(const BodyInfo& body, std::span<const std::byte> bytes) {
  const auto once = body.decode_and_encode(bytes);
  if (!once) {
    // The encoder refuses nothing that the decoder took.
    require(once.error().code == ErrorCode::kCorrupt && !once.error().message.empty());
    return;
  }
  const auto twice = body.decode_and_encode(std::as_bytes(std::span(*once)));
  require(twice.has_value() && *twice == *once);
}

template <class Messages>
void fuzz_conversation(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return;
  const auto& table = body_table<Messages>();
  fuzz_body(table[data[0] % table.size()], std::as_bytes(std::span(data + 1, size - 1)));
}

}  // namespace seng
