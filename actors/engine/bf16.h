// Values kept as bfloat16: the upper 16 bits of an IEEE float (sign, 8 bits of exponent, 7 of fraction), so
// half the bytes, the same range, and a relative rounding error of at most 2^-8 (2^-9 on average of
// magnitudes).
//
// Only storage: every product widens its operands, which is exact, and is then what linalg.h does in float.
// The kernels have the bits of linalg.h's on the widened values, for any instruction set. Single-threaded.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

namespace seng {

enum class Precision { kF32, kBf16 };
constexpr std::size_t bytes_of(Precision precision) {
  return precision == Precision::kF32 ? 4 : 2;
}

constexpr const char* precision_name(Precision precision) {
  return precision == Precision::kF32 ? "f32" : "bf16";
}

// One value's bits. Such arrays may lie in memory that is handed around as bytes or floats.
using Bf16 = std::uint16_t __attribute__((may_alias));

inline float widen(std::uint16_t bits) {
  return std::bit_cast<float>(std::uint32_t{bits} << 16);
}
// To the nearest; of two as near, the one whose last bit is 0. What is larger than the largest becomes
// infinite; a NaN stays one (quiet, with its sign).
inline std::uint16_t narrow(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  const bool nan = (bits & 0x7fffffffu) > 0x7f800000u;
  return static_cast<std::uint16_t>(nan ? (bits >> 16) | 0x40u : rounded);
}

// `count` values each; the two sides may not overlap.
void widen(const Bf16* from, float* to, std::size_t count);
void narrow(const float* from, Bf16* to, std::size_t count);

// As those of linalg.h.
double dot(const Bf16* a, const float* b, std::size_t count);
void row_dots(const Bf16* matrix, std::size_t ld, std::size_t rows, std::size_t width, const float* x,
              double* y);
void add_weighted_rows(const Bf16* matrix, std::size_t ld, std::size_t rows, std::size_t width,
                       const float* b, float* y);
bool all_finite(const Bf16* values, std::size_t count);

}  // namespace seng
