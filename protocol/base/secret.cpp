#include "protocol/base/secret.h"

#include <array>

#include <sodium.h>

#include "protocol/base/error.h"

namespace seng {

std::string random_secret() {
  SENG_CHECK(sodium_init() >= 0, "libsodium does not start");
  std::array<unsigned char, 16> bytes{};
  randombytes_buf(bytes.data(), bytes.size());
  std::array<char, 2 * bytes.size() + 1> text{};
  sodium_bin2hex(text.data(), text.size(), bytes.data(), bytes.size());
  return text.data();
}

bool same_secret(std::string_view a, std::string_view b) {
  return a.size() == b.size() && sodium_memcmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace seng
