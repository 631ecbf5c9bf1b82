// What a message may hold at most. A receiver checks a declared length against these before it allocates
// anything; a sender that would exceed them has an error, not a lost message. protocol/README.md repeats the
// numbers.
#pragma once

#include <cstddef>
#include <cstdint>

namespace seng {

// The header frame: envelope and body. The largest bodies are lists of metrics; see kMaxListItems.
inline constexpr std::size_t kMaxHeaderBytes = std::size_t{8} << 20;
// A string field, where the field names no limit of its own. Specifications and plans are the longest.
inline constexpr std::size_t kMaxStringBytes = std::size_t{1} << 20;
// Items of a list field, where the field names no limit of its own.
inline constexpr std::size_t kMaxListItems = 100'000;
// Maps and lists inside each other: message -> record -> list -> record, with room to grow. Skipped unknown
// fields count too.
inline constexpr std::size_t kMaxNesting = 16;

// One payload frame. Senders cut at about 1 MiB, where ZeroMQ is fastest; a receiver takes up to this.
inline constexpr std::size_t kMaxPayloadFrameBytes = std::size_t{64} << 20;
inline constexpr std::size_t kMaxPayloadFrames = 64;

// sockaddr_un's path with its closing zero leaves 107 bytes.
inline constexpr std::size_t kMaxSocketPathBytes = 107;

}  // namespace seng
