// IDX files as bytes, built by hand.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace seng {

// Magic, dimensions (big-endian), values.
std::string idx_bytes(const std::vector<std::uint32_t>& dimensions, const std::string& values);
// The same bytes as one gzip member.
std::string gzip(const std::string& bytes);

}  // namespace seng
