#include "daemon/state_dir.h"

#include <cerrno>
#include <cstdlib>
#include <ctime>
#include <filesystem>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "protocol/base/file.h"
#include "protocol/base/limits.h"
#include "protocol/base/sha256.h"

namespace seng {
namespace {

// "/a<job>.<actor>", with room for many jobs.
constexpr std::size_t kLongestPeerName = 20;

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

std::string utc(double wall) {
  const auto seconds = static_cast<std::time_t>(wall);
  std::tm fields{};
  gmtime_r(&seconds, &fields);
  char text[64];
  std::strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S UTC", &fields);
  return text;
}

}  // namespace

Result<std::string> default_state_dir() {
  if (const std::string dir = environment("SENG_STATE_DIR"); !dir.empty()) return dir;
  if (const std::string dir = environment("XDG_STATE_HOME"); !dir.empty()) return dir + "/seng";
  if (const std::string home = environment("HOME"); !home.empty()) return home + "/.local/state/seng";
  return fail(ErrorCode::kInvalidArgument,
              "no state directory: give --state-dir or set SENG_STATE_DIR or HOME");
}

Result<StateDir> StateDir::plan(const std::string& path) {
  if (path.empty()) return fail(ErrorCode::kInvalidArgument, "--state-dir: expected a directory");
  std::error_code failed;
  const auto absolute = std::filesystem::absolute(path, failed).lexically_normal();
  if (failed) return fail(ErrorCode::kIo, "cannot resolve " + path + ": " + failed.message());
  StateDir out;
  out.path_ = absolute.string();
  while (out.path_.size() > 1 && out.path_.back() == '/') out.path_.pop_back();
  if (out.control_socket().size() > kMaxSocketPathBytes) {
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("the path of the socket {} has {} bytes, a Unix socket's may have {}: choose a shorter "
                    "directory with --state-dir",
                    out.control_socket(), out.control_socket().size(), kMaxSocketPathBytes));
  }
  out.run_dir_ = out.path_ + "/run";
  if (out.run_dir_.size() + kLongestPeerName <= kMaxSocketPathBytes) return out;
  const std::string runtime = environment("XDG_RUNTIME_DIR");
  const std::string hash = to_hex(sha256(out.path_.data(), out.path_.size())).substr(0, 12);
  if (!runtime.empty()) out.run_dir_ = runtime + "/seng-" + hash;
  if (out.run_dir_.size() + kLongestPeerName > kMaxSocketPathBytes) {
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("the actors' sockets below {} would have paths longer than the {} bytes that a Unix "
                    "socket's may have: choose a shorter directory with --state-dir{}",
                    out.run_dir_, kMaxSocketPathBytes, runtime.empty() ? ", or set XDG_RUNTIME_DIR" : ""));
  }
  return out;
}

Status StateDir::take(double wall_now) {
  SENG_TRY(make_private_dir(path_));
  UniqueFd lock(open(lock_file().c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!lock) return fail(errno_error("cannot write " + lock_file()));
  if (flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return fail(errno_error("cannot lock " + lock_file()));
    std::string holder = read_file(lock_file(), 256).value_or("");
    while (!holder.empty() && holder.back() == '\n') holder.pop_back();
    return fail(ErrorCode::kExists,
                fmt::format("another sengd ({}) runs in {}; stop it, or choose another --state-dir",
                            holder.empty() ? "which is just starting" : holder, path_));
  }
  const std::string text = fmt::format("pid {}, since {}\n", getpid(), utc(wall_now));
  if (ftruncate(lock.get(), 0) != 0 || pwrite(lock.get(), text.data(), text.size(), 0) < 0) {
    return fail(errno_error("cannot write " + lock_file()));
  }
  for (const std::string& dir : {path_ + "/logs", path_ + "/jobs", run_dir_}) SENG_TRY(make_private_dir(dir));
  lock_ = std::move(lock);
  return {};
}

Result<UniqueFd> StateDir::watch() const {
  UniqueFd out(inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  if (!out) return fail(errno_error("inotify"));
  // A file that is held open is not deleted when its name is: its link count changes.
  if (inotify_add_watch(out.get(), lock_file().c_str(), IN_ATTRIB | IN_MOVE_SELF) < 0 ||
      inotify_add_watch(out.get(), path_.c_str(), IN_MOVE_SELF | IN_DELETE_SELF) < 0)
    return fail(errno_error("cannot watch " + path_));
  return out;
}

bool StateDir::gone() const {
  struct stat held {
  }, named{};
  if (fstat(lock_.get(), &held) != 0) return false;
  if (stat(lock_file().c_str(), &named) != 0) return errno == ENOENT || errno == ENOTDIR;
  return held.st_dev != named.st_dev || held.st_ino != named.st_ino;
}

}  // namespace seng
