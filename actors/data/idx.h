// IDX files (the format of MNIST and its successors), plain or gzip-compressed: README.md of this folder
// specifies what is accepted. Values are unsigned bytes only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "protocol/base/error.h"

namespace seng {

inline constexpr std::uint8_t kIdxTypeUnsignedByte = 0x08;
inline constexpr std::size_t kIdxMaxValues = std::size_t{2} << 30;  // refused above: no known set comes near

struct IdxArray {
  std::vector<std::uint32_t> dimensions;
  std::vector<std::uint8_t> values;  // row-major; the product of the dimensions
};

// Reads the whole file, which must have `rank` dimensions, none of them zero. Nothing is allocated by the
// header's word alone: the payload must fit the file (gzip: what deflate can make of it at most). Errors name
// the file, what was expected and what was found: wrong magic, type or rank, truncated, trailing bytes,
// broken compression.
Result<IdxArray> read_idx(const std::string& path, std::size_t rank);

}  // namespace seng
