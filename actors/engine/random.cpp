#include "actors/engine/random.h"

#include <cmath>
#include <numbers>

namespace seng {
namespace {

std::uint32_t low(std::uint64_t value) {
  return static_cast<std::uint32_t>(value);
}
std::uint32_t high(std::uint64_t value) {
  return static_cast<std::uint32_t>(value >> 32);
}

}  // namespace

std::array<std::uint32_t, 4> philox4x32_10(std::array<std::uint32_t, 4> counter,
                                           std::array<std::uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t product0 = std::uint64_t{0xD2511F53u} * counter[0];
    const std::uint64_t product1 = std::uint64_t{0xCD9E8D57u} * counter[2];
    counter = {high(product1) ^ counter[1] ^ key[0], low(product1), high(product0) ^ counter[3] ^ key[1],
               low(product0)};
    key[0] += 0x9E3779B9u;
    key[1] += 0xBB67AE85u;
  }
  return counter;
}

Random::Random(std::uint64_t seed, RandomPurpose purpose, std::uint64_t a, std::uint32_t b) {
  const auto words =
      philox4x32_10({low(a), high(a), b, static_cast<std::uint32_t>(purpose)}, {low(seed), high(seed)});
  key_ = {words[0], words[1]};
  high_ = {words[2], words[3]};
}

std::array<std::uint32_t, 4> Random::at(std::uint64_t index) const {
  return philox4x32_10({low(index), high(index), high_[0], high_[1]}, key_);
}

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
