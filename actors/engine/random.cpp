#include "actors/engine/random.h"

#include <cmath>
#include <numbers>

namespace seng {
namespace {

std::uint32_t low(std::uint64_t value) {
  return static_cast<std::uint32_t>(value);
}
}  // namespace

std::uint32_t Random::next_u32() {
  if (used_ == 4) {
    words_ = at(index_++);
    used_ = 0;
  }
  return words_[used_++];
}

std::uint64_t Random::below(std::uint64_t bound) {
  if (bound <= 0x100000000u) {
    // Lemire, "Fast random integer generation in an interval", ACM TOMACS 29 (2019).
    const std::uint64_t threshold = (std::uint64_t{0x100000000u} - bound) % bound;
    while (true) {
      const std::uint64_t product = std::uint64_t{next_u32()} * bound;
      if (low(product) >= threshold) return product >> 32;
    }
  }
  const std::uint64_t threshold = (0 - bound) % bound;  // 2^64 mod bound
  while (true) {
    const std::uint64_t first = next_u32();
    const std::uint64_t value = first | std::uint64_t{next_u32()} << 32;
    if (value >= threshold) return value % bound;
  }
}

float Random::uniform() {
  return static_cast<float>(next_u32() >> 8) * 0x1p-24f;
}

float Random::normal() {
  if (has_spare_) {
    has_spare_ = false;
    return spare_;
  }
  const double radius = std::sqrt(-2.0 * std::log((next_u32() + 1.0) * 0x1p-32));  // (0, 1]
  const double angle = 2.0 * std::numbers::pi * (next_u32() * 0x1p-32);
  spare_ = static_cast<float>(radius * std::sin(angle));
  has_spare_ = true;
  return static_cast<float>(radius * std::cos(angle));
}

}  // namespace seng
