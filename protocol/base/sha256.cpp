#include "protocol/base/sha256.h"

#include <cerrno>
#include <stdexcept>
#include <vector>

#include <fcntl.h>
#include <openssl/evp.h>
#include <unistd.h>

#include "protocol/base/bytes.h"
#include "protocol/base/unique_fd.h"

namespace seng {
namespace {

void require(int outcome, const char* call) {
  if (outcome != 1) throw std::runtime_error(std::string("libcrypto: ") + call + " failed");
}

}  // namespace

void Sha256::Free::operator()(evp_md_ctx_st* state) const {
  EVP_MD_CTX_free(state);
}

Sha256::Sha256() : state_(EVP_MD_CTX_new()) {
  require(state_ != nullptr && EVP_DigestInit_ex(state_.get(), EVP_sha256(), nullptr) == 1,
          "EVP_DigestInit_ex");
}

void Sha256::update(const void* data, std::size_t size) {
  if (size > 0) require(EVP_DigestUpdate(state_.get(), data, size), "EVP_DigestUpdate");
}

Digest Sha256::finish() {
  Digest digest;
  require(EVP_DigestFinal_ex(state_.get(), reinterpret_cast<unsigned char*>(digest.data()), nullptr),
          "EVP_DigestFinal_ex");
  return digest;
}

Digest sha256(const void* data, std::size_t size) {
  Sha256 hash;
  hash.update(data, size);
  return hash.finish();
}

std::string to_hex(const Digest& digest) {
  return to_hex(std::span<const std::byte>(digest));
}

Result<Digest> sha256_of_file(const std::string& path) {
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return fail(errno_error("cannot open " + path));
  std::vector<std::byte> buffer(1 << 20);
  Sha256 hash;
  for (;;) {
    const ssize_t got = read(fd.get(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail(errno_error("cannot read " + path));
    if (got == 0) return hash.finish();
    hash.update(buffer.data(), static_cast<std::size_t>(got));
  }
}

}  // namespace seng
