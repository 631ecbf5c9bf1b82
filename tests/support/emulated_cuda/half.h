// 16-bit numbers as the hardware converts them. No backend code is used: it is what is tested.
#pragma once

#include <bit>
#include <cstdint>

namespace emulated_cuda {

inline float of_bfloat16(std::uint16_t bits) {
  return std::bit_cast<float>(std::uint32_t{bits} << 16);
}
inline std::uint16_t to_bfloat16(float value) {
  if (value != value) return 0x7fff;
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t behind = bits & 0xffffu, kept = bits >> 16;
  const bool up = behind > 0x8000u || (behind == 0x8000u && kept % 2 == 1);
  return static_cast<std::uint16_t>(kept + (up ? 1 : 0));
}
inline float of_half(std::uint16_t bits) {
  return static_cast<float>(std::bit_cast<_Float16>(bits));
}
inline std::uint16_t to_half(float value) {
  return std::bit_cast<std::uint16_t>(static_cast<_Float16>(value));
}

}  // namespace emulated_cuda
