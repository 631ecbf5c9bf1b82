#include "protocol/base/sha256.h"

#include <cerrno>
#include <new>
#include <vector>

#include <fcntl.h>
#include <sodium/crypto_hash_sha256.h>
#include <unistd.h>

#include "protocol/base/bytes.h"
#include "protocol/base/unique_fd.h"

namespace seng {
namespace {

static_assert(sizeof(crypto_hash_sha256_state) == 104, "Sha256::state_ holds libsodium's state");
static_assert(alignof(crypto_hash_sha256_state) <= 8, "Sha256::state_ is aligned for libsodium's state");

crypto_hash_sha256_state* as_state(unsigned char* bytes) {
  return std::launder(reinterpret_cast<crypto_hash_sha256_state*>(bytes));
}

}  // namespace

Sha256::Sha256() {
  crypto_hash_sha256_init(new (state_) crypto_hash_sha256_state);
}

void Sha256::update(const void* data, std::size_t size) {
  if (size == 0) return;
  crypto_hash_sha256_update(as_state(state_), static_cast<const unsigned char*>(data), size);
}

Digest Sha256::finish() {
  Digest digest;
  crypto_hash_sha256_final(as_state(state_), reinterpret_cast<unsigned char*>(digest.data()));
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
