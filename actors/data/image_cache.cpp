#include "actors/data/image_cache.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "protocol/base/file.h"
#include "protocol/base/unique_fd.h"

namespace seng {
namespace {

constexpr std::size_t kHeaderBytes = 128, kHashedBytes = 96;
constexpr char kMagic[] = "SENGIMGS";
constexpr std::uint32_t kVersion = 1;
constexpr std::uint64_t kRun = 256;  // images that a thread makes before it writes them

using Header = std::array<std::byte, kHeaderBytes>;

template <class T>
void put(Header& header, std::size_t at, T value) {
  for (std::size_t i = 0; i < sizeof value; ++i)
    header[at + i] = static_cast<std::byte>(static_cast<std::uint64_t>(value) >> (8 * i) & 0xff);
}

Header make_header(const ImageCacheShape& shape, const Digest& fingerprint, const Digest& values) {
  Header header{};
  std::memcpy(header.data(), kMagic, 8);
  put(header, 8, kVersion);
  put(header, 12, shape.channels);
  put(header, 16, shape.height);
  put(header, 20, shape.width);
  put(header, 24, shape.count);
  std::copy(fingerprint.begin(), fingerprint.end(), header.begin() + 32);
  std::copy(values.begin(), values.end(), header.begin() + 64);
  const Digest own = sha256(header.data(), kHashedBytes);
  std::copy(own.begin(), own.end(), header.begin() + kHashedBytes);
  return header;
}

Status write_all(int fd, const void* data, std::size_t size, std::size_t offset, const std::string& path) {
  const char* at = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t n = pwrite(fd, at, size, static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(errno_error("cannot write " + path));
    at += n;
    offset += static_cast<std::size_t>(n);
    size -= static_cast<std::size_t>(n);
  }
  return {};
}

// The first error of several threads.
class FirstError {
 public:
  void keep(Error error) {
    const std::lock_guard lock(mutex_);
    if (!error_) error_ = std::move(error);
    failed_ = true;
  }
  bool failed() const { return failed_; }
  Status status() const { return error_ ? Status(fail(*error_)) : Status(); }

 private:
  std::mutex mutex_;
  std::optional<Error> error_;
  std::atomic<bool> failed_{false};
};

Status make_values(int fd, const std::string& path, const ImageCacheShape& shape,
                   const ImageCache::MakeImage& make, int threads) {
  std::atomic<std::uint64_t> next{0};
  FirstError error;
  const auto work = [&] {
    std::vector<std::uint8_t> run(kRun * shape.image_bytes());
    while (!error.failed()) {
      const std::uint64_t first = next.fetch_add(kRun), last = std::min(first + kRun, shape.count);
      if (first >= shape.count) return;
      Status status;
      for (std::uint64_t i = first; i < last && status; ++i)
        status = make(i, run.data() + (i - first) * shape.image_bytes());
      if (status)
        status = write_all(fd, run.data(), (last - first) * shape.image_bytes(),
                           kHeaderBytes + first * shape.image_bytes(), path);
      if (!status) return error.keep(status.error());
    }
  };
  std::vector<std::thread> others;
  for (int i = 1; i < threads; ++i) others.emplace_back(work);
  work();
  for (std::thread& other : others) other.join();
  return error.status();
}

Result<Digest> hash_values(int fd, const std::string& path, std::size_t bytes) {
  Sha256 hash;
  std::vector<char> buffer(std::size_t{1} << 20);
  for (std::size_t done = 0; done < bytes;) {
    const ssize_t n = pread(fd, buffer.data(), std::min(buffer.size(), bytes - done),
                            static_cast<off_t>(kHeaderBytes + done));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return fail(errno_error("cannot read " + path));
    hash.update(buffer.data(), static_cast<std::size_t>(n));
    done += static_cast<std::size_t>(n);
  }
  return hash.finish();
}

Status make_file(const std::string& path, const ImageCacheShape& shape, const Digest& fingerprint,
                 const ImageCache::MakeImage& make, int threads) {
  const std::string aside = path + ".part";  // the lock's holder is its only writer
  const UniqueFd fd(::open(aside.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!fd) return fail(errno_error("cannot create " + aside));
  const auto finish = [&]() -> Status {
    SENG_TRY(make_values(fd.get(), aside, shape, make, threads));
    const auto values = hash_values(fd.get(), aside, shape.count * shape.image_bytes());
    if (!values) return fail(values.error());
    const Header header = make_header(shape, fingerprint, *values);
    SENG_TRY(write_all(fd.get(), header.data(), header.size(), 0, aside));
    if (fsync(fd.get()) != 0) return fail(errno_error("cannot sync " + aside));
    if (rename(aside.c_str(), path.c_str()) != 0) return fail(errno_error("cannot rename " + aside));
    return sync_dir(std::filesystem::path(path).parent_path().string());
  };
  Status status = finish();
  if (!status) unlink(aside.c_str());
  return status;
}

}  // namespace

Result<std::unique_ptr<ImageCache>> ImageCache::open(const std::string& path, const ImageCacheShape& shape,
                                                     const Digest& fingerprint) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) {
    const bool missing = errno == ENOENT;
    Error error = errno_error("cannot open " + path);
    if (missing) error.code = ErrorCode::kNotFound;
    return fail(std::move(error));
  }
  struct stat status {};
  if (fstat(fd.get(), &status) != 0) return fail(errno_error("cannot look at " + path));
  const std::size_t values = shape.count * shape.image_bytes(), expected = kHeaderBytes + values;
  if (static_cast<std::size_t>(status.st_size) != expected)
    return fail(ErrorCode::kCorrupt,
                fmt::format("{}: {} bytes; expected {}", path, status.st_size, expected));
  std::unique_ptr<ImageCache> cache(new ImageCache);
  void* map = mmap(nullptr, expected, PROT_READ, MAP_SHARED, fd.get(), 0);
  if (map == MAP_FAILED) return fail(errno_error("cannot map " + path));
  cache->map_ = map;
  cache->map_bytes_ = expected;
  cache->image_bytes_ = shape.image_bytes();
  cache->values_ = static_cast<const std::uint8_t*>(map) + kHeaderBytes;
  const Header header = make_header(shape, fingerprint, sha256(cache->values_, values));
  const auto* found = static_cast<const std::byte*>(map);
  const auto differs = [&](std::size_t from, std::size_t to) {
    return !std::equal(header.begin() + from, header.begin() + to, found + from);
  };
  const char* what = differs(0, 8)      ? "magic"
                     : differs(8, 12)   ? "version"
                     : differs(12, 32)  ? "shape"
                     : differs(32, 64)  ? "fingerprint of its source"
                     : differs(64, 96)  ? "hash of its values"
                     : differs(96, 128) ? "hash of its header"
                                        : nullptr;
  if (what != nullptr)
    return fail(ErrorCode::kCorrupt, fmt::format("{}: its {} is not the one expected", path, what));
  return cache;
}

Result<std::unique_ptr<ImageCache>> ImageCache::open_or_make(const std::string& path,
                                                             const ImageCacheShape& shape,
                                                             const Digest& fingerprint, const MakeImage& make,
                                                             int threads,
                                                             const std::function<void(std::string)>& note) {
  std::error_code error;
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(), error);
  if (auto there = open(path, shape, fingerprint)) return there;
  const std::string lock_path = path + ".lock";
  const UniqueFd lock(::open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!lock) return fail(errno_error("cannot create " + lock_path));
  while (flock(lock.get(), LOCK_EX) != 0) {
    if (errno != EINTR) return fail(errno_error("cannot lock " + lock_path));
  }
  auto there = open(path, shape, fingerprint);  // another process may have made it meanwhile
  if (there) return there;
  if (there.error().code != ErrorCode::kNotFound) note(there.error().message + "; it is made anew");
  SENG_TRY(make_file(path, shape, fingerprint, make, threads));
  return open(path, shape, fingerprint);
}

ImageCache::~ImageCache() {
  if (map_ != nullptr) munmap(map_, map_bytes_);
}

}  // namespace seng
