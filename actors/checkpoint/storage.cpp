#include "actors/checkpoint/storage.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <system_error>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "protocol/base/file.h"
#include "protocol/base/unique_fd.h"

namespace seng {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxWrite = std::size_t{1} << 30;  // write() takes less than 2 GiB at once

Error os_error(const std::string& what) {
  const bool full = errno == ENOSPC || errno == EDQUOT;
  Error error = errno_error(what);
  if (full) {
    error.code = ErrorCode::kExhausted;
    error.message += "; free space there, or keep fewer checkpoints (checkpoint.keep)";
  }
  return error;
}

class PosixFile : public OutputFile {
 public:
  PosixFile(UniqueFd fd, std::string path) : fd_(std::move(fd)), path_(std::move(path)) {}

  Status append(const void* data, std::size_t size) override {
    const auto* from = static_cast<const char*>(data);
    while (size > 0) {
      const ssize_t done = ::write(fd_.get(), from, std::min(size, kMaxWrite));
      if (done < 0 && errno == EINTR) continue;
      if (done < 0) return fail(os_error("cannot write " + path_));
      from += done;
      size -= static_cast<std::size_t>(done);
    }
    return {};
  }

  Status sync() override {
    if (::fsync(fd_.get()) != 0) return fail(os_error("cannot sync " + path_));
    return {};
  }

 private:
  UniqueFd fd_;
  std::string path_;
};

class PosixStorage : public Storage {
 public:
  Status make_directory(const std::string& path) override {
    struct stat info {};
    if (::stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode)) return {};
    const std::string parent = fs::path(path).parent_path().string();
    if (!parent.empty() && parent != path) SENG_TRY(make_directory(parent));
    // Members of a group may make it at the same moment.
    if (::mkdir(path.c_str(), 0700) != 0) {
      const int error = errno;
      if (error == EEXIST && ::stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode)) return {};
      errno = error;
      return fail(os_error("cannot make directory " + path));
    }
    return sync_directory(parent.empty() ? "." : parent);
  }

  Result<std::unique_ptr<OutputFile>> create(const std::string& path) override {
    UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!fd) return fail(os_error("cannot create " + path));
    return std::make_unique<PosixFile>(std::move(fd), path);
  }

  Status sync_directory(const std::string& path) override { return sync_dir(path); }

  Status rename(const std::string& from, const std::string& to) override {
    if (::rename(from.c_str(), to.c_str()) != 0) return fail(os_error("cannot rename " + from + " to " + to));
    return {};
  }

  Status exchange(const std::string& one, const std::string& other) override {
    if (::renameat2(AT_FDCWD, one.c_str(), AT_FDCWD, other.c_str(), RENAME_EXCHANGE) == 0) return {};
    const bool absent = errno == ENOSYS || errno == EINVAL;
    Error error = os_error("cannot exchange " + one + " and " + other);
    if (absent) error.code = ErrorCode::kUnsupported;
    return fail(std::move(error));
  }

  Status remove_file(const std::string& path) override {
    if (::unlink(path.c_str()) != 0) return fail(os_error("cannot remove " + path));
    return {};
  }

  Status remove_tree(const std::string& path) override {
    std::error_code error;
    fs::remove_all(path, error);
    if (error) return fail(ErrorCode::kIo, "cannot remove " + path + ": " + error.message());
    return {};
  }
};

}  // namespace

Storage& posix_storage() {
  static PosixStorage storage;
  return storage;
}

}  // namespace seng
