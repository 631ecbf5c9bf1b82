// Files, read within a bound and written so that a crash leaves the old or the new content, never half of
// one.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "protocol/base/error.h"

namespace seng {

// The whole file. kNotFound, kIo, or kExhausted when it is longer than max_bytes.
Result<std::string> read_file(const std::string& path, std::size_t max_bytes);

// Writes beside `path`, syncs, renames over it and syncs the directory. Mode 0600.
Status write_file_atomically(const std::string& path, std::string_view content);

// Makes the directory and its missing parents, the new ones with mode 0700. An existing one must belong to
// this user and be closed to others; an empty one that is not is closed, one with something in it is refused
// with the remedy.
Status make_private_dir(const std::string& path);

// Makes the names in the directory durable.
Status sync_dir(const std::string& path);

}  // namespace seng
