// What the fuzzers of one conversation's bodies share: the first byte chooses the message, the rest is its
// body. Whatever decodes must come out of encoding and decoding again as it went in.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>

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
  const BodyInfo& body = table[(data[0] & 0x7f) % table.size()];
  if ((data[0] & 0x80) == 0 || size < 2) {
    fuzz_body(body, std::as_bytes(std::span(data + 1, size - 1)));
    return;
  }
  std::string bytes = body.random(data[1]);
  for (std::size_t i = 2; i + 2 < size; i += 3) {
    bytes[(data[i] << 8 | data[i + 1]) % bytes.size()] = static_cast<char>(data[i + 2]);
  }
  fuzz_body(body, std::as_bytes(std::span(bytes)));
}

}  // namespace seng
