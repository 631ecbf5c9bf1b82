// SHA-256 (FIPS 180-4), by OpenSSL's libcrypto, which uses the processor's own instructions for it.
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "protocol/base/error.h"

struct evp_md_ctx_st;  // OpenSSL's EVP_MD_CTX

namespace seng {

using Digest = std::array<std::byte, 32>;

// Throws std::runtime_error where libcrypto refuses (no memory, or a configuration without SHA-256).
class Sha256 {
 public:
  Sha256();
  void update(const void* data, std::size_t size);
  // May be called once; the object is then spent.
  Digest finish();

 private:
  struct Free {
    void operator()(evp_md_ctx_st* state) const;
  };
  std::unique_ptr<evp_md_ctx_st, Free> state_;
};

Digest sha256(const void* data, std::size_t size);
std::string to_hex(const Digest& digest);
Result<Digest> sha256_of_file(const std::string& path);

}  // namespace seng
