// MessagePack by hand, for bytes that no encoder would make, and by msgpack-cxx, the judge of ours.
#pragma once

#define MSGPACK_NO_BOOST
#include <cstdint>
#include <span>
#include <sstream>
#include <string>
#include <string_view>

#include <msgpack.hpp>

namespace seng {

inline std::span<const std::byte> as_bytes(std::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

// raw("82 01 a3 78 79 7a"): the bytes named.
inline std::string raw(std::string_view hex) {
  std::string out;
  int high = -1;
  for (const char c : hex) {
    if (c == ' ' || c == '\n') continue;
    const int digit = c <= '9' ? c - '0' : c - 'a' + 10;
    if (high < 0) {
      high = digit;
    } else {
      out += static_cast<char>(high * 16 + digit);
      high = -1;
    }
  }
  return out;
}

// The bytes of one value of the library's own choice of form.
template <class T>
std::string packed(const T& value) {
  std::ostringstream out;
  msgpack::pack(out, value);
  return out.str();
}

// {number: value}
inline std::string one_field(unsigned number, std::string_view value) {
  return raw("81") + packed(number) + std::string(value);
}

}  // namespace seng
