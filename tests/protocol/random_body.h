// Fills any struct with `visit` with random contents: short strings of any bytes, lists of up to three items,
// numbers over their whole range.
#pragma once

#include <concepts>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "protocol/base/error.h"
#include "protocol/messages/records.h"

namespace seng {

// Fresh numbers in each run; a failing test names the seed.
inline std::uint64_t fresh_seed() {
  std::random_device device;
  return (std::uint64_t{device()} << 32) | device();
}

class RandomFill {
 public:
  explicit RandomFill(std::uint64_t seed) : random_(seed) {}

  template <class M>
  [[gnu::noinline]] void field(unsigned, const char*, M& member, std::size_t = 0) {
    fill(member);
  }

  template <class T>
  void fill(T& value) {
    if constexpr (std::same_as<T, bool>) {
      value = random_() % 2 != 0;
    } else if constexpr (std::is_enum_v<T>) {
      do {
        value = static_cast<T>(random_() % 16);
      } while (!is_known(value));
    } else if constexpr (std::integral<T>) {
      // All magnitudes alike, so that each form of an integer on the wire is met.
      value = static_cast<T>(random_() >> (random_() % 64));
      if (std::signed_integral<T> && random_() % 2 != 0) value = static_cast<T>(~value);
    } else if constexpr (std::floating_point<T>) {
      value = std::uniform_real_distribution<T>(-1e6, 1e6)(random_);
    } else if constexpr (std::same_as<T, std::string>) {
      value.resize(random_() % 40);
      for (char& c : value) c = static_cast<char>(random_());
    } else if constexpr (requires { value.emplace_back(); }) {
      value.clear();
      for (std::uint64_t i = random_() % 4; i > 0; --i) fill(value.emplace_back());
    } else {
      value.visit(*this);
    }
  }

  template <class T>
  T make() {
    T value;
    fill(value);
    return value;
  }

 private:
  std::mt19937_64 random_;
};

}  // namespace seng
