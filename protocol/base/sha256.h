// SHA-256 (FIPS 180-4), by libsodium.
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <string>

#include "protocol/base/error.h"

namespace seng {

using Digest = std::array<std::byte, 32>;

class Sha256 {
 public:
  Sha256();
  void update(const void* data, std::size_t size);
  // May be called once; the object is then spent.
  Digest finish();

 private:
  alignas(8) unsigned char state_[104];  // a crypto_hash_sha256_state; the source checks the size
};

Digest sha256(const void* data, std::size_t size);
std::string to_hex(const Digest& digest);
Result<Digest> sha256_of_file(const std::string& path);

}  // namespace seng
