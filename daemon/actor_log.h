// Reads the log files that actors write.
#pragma once

#include <cstdint>
#include <string>

#include "protocol/base/error.h"

namespace seng {

struct LogChunk {
  std::string data;
  std::uint64_t size = 0;  // of the whole file
};

// At most max_bytes from `offset`; none at or behind the end. A file that is not there is empty.
Result<LogChunk> read_log_chunk(const std::string& path, std::uint64_t offset, std::uint64_t max_bytes);

// The last line that is not blank, of the file's last 8 KiB, without control characters and cut to 500 bytes;
// empty if there is none.
std::string last_log_line(const std::string& path);

// `text` cut to at most `limit` bytes, between characters, with "..." if it was longer.
std::string shortened(std::string text, std::size_t limit);

}  // namespace seng
