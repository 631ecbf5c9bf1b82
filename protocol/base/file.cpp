#include "protocol/base/file.h"

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <system_error>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "protocol/base/unique_fd.h"

namespace seng {
namespace {

std::string parent_of(const std::string& path) {
  const std::string parent = std::filesystem::path(path).parent_path().string();
  return parent.empty() ? "." : parent;
}

Status write_all(int fd, std::string_view content, const std::string& path) {
  while (!content.empty()) {
    const ssize_t put = write(fd, content.data(), content.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return fail(errno_error("cannot write " + path));
    content.remove_prefix(static_cast<std::size_t>(put));
  }
  return {};
}

Status close_to_others(const std::string& path, const struct stat& info) {
  if (!S_ISDIR(info.st_mode)) return fail(ErrorCode::kExists, path + " is not a directory");
  if (info.st_uid != geteuid()) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{} belongs to user {}, not to this one ({}): choose another directory", path,
                            info.st_uid, geteuid()));
  }
  if ((info.st_mode & 077) == 0) return {};
  std::error_code ignored;
  if (!std::filesystem::is_empty(path, ignored)) {
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("{} is open to other users (mode {:04o}): run `chmod 700 {}` or choose another directory",
                    path, info.st_mode & 07777, path));
  }
  if (chmod(path.c_str(), 0700) != 0) return fail(errno_error("cannot close " + path + " to others"));
  return {};
}

}  // namespace

Result<std::string> read_file(const std::string& path, std::size_t max_bytes) {
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return fail(errno_error("cannot open " + path));
  struct stat info {};
  if (fstat(fd.get(), &info) != 0) return fail(errno_error("cannot read " + path));
  std::string content;
  if (S_ISREG(info.st_mode)) content.reserve(std::min(static_cast<std::size_t>(info.st_size), max_bytes));
  char buffer[16384];
  for (;;) {
    const ssize_t got = read(fd.get(), buffer, sizeof(buffer));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail(errno_error("cannot read " + path));
    if (got == 0) return content;
    if (static_cast<std::size_t>(got) > max_bytes - content.size()) {
      return fail(ErrorCode::kExhausted, fmt::format("{} is longer than {} bytes", path, max_bytes));
    }
    content.append(buffer, static_cast<std::size_t>(got));
  }
}

Status write_file_atomically(const std::string& path, std::string_view content) {
  std::string aside = path + ".XXXXXX";
  UniqueFd fd(mkostemp(aside.data(), O_CLOEXEC));
  if (!fd) return fail(errno_error("cannot write beside " + path));
  Status status = write_all(fd.get(), content, aside);
  if (status && fsync(fd.get()) != 0) status = fail(errno_error("cannot sync " + aside));
  fd.reset();
  if (status && rename(aside.c_str(), path.c_str()) != 0)
    status = fail(errno_error("cannot rename to " + path));
  if (!status) {
    unlink(aside.c_str());
    return status;
  }
  return sync_dir(parent_of(path));
}

Status make_private_dir(const std::string& path) {
  if (path.empty()) return fail(ErrorCode::kInvalidArgument, "a directory's name is empty");
  struct stat info {};
  if (stat(path.c_str(), &info) == 0) return close_to_others(path, info);
  if (errno != ENOENT) return fail(errno_error("cannot use " + path));
  const std::string parent = parent_of(path);
  if (parent != path && stat(parent.c_str(), &info) != 0 && errno == ENOENT)
    SENG_TRY(make_private_dir(parent));
  if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return fail(errno_error("cannot make " + path));
  if (stat(path.c_str(), &info) != 0) return fail(errno_error("cannot use " + path));
  return close_to_others(path, info);
}

Status sync_dir(const std::string& path) {
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return fail(errno_error("cannot open " + path));
  if (fsync(fd.get()) != 0) return fail(errno_error("cannot sync " + path));
  return {};
}

}  // namespace seng
