// Log lines: "2026-01-31 12:00:00.123Z info    sengd: text", in UTC, each flushed at once. Thread-safe.
// Before init_log() lines go to stderr.
//
//   log_info("actor {} is ready after {:.1f} s", name, seconds);
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/core.h>

#include "protocol/base/error.h"

namespace seng {

enum class LogLevel { kDebug, kInfo, kWarning, kError };

std::optional<LogLevel> log_level_of(std::string_view word);  // debug | info | warning | error

struct LogOptions {
  std::string name;          // the process, as its lines show it: "sengd", "actor 3/0"
  std::string file;          // append to this file (mode 0600); empty: stderr
  bool also_stderr = false;  // with a file: to stderr as well (a daemon in the foreground)
  LogLevel level = LogLevel::kInfo;
};

// May be called again, to change everything. On an error the log stays as it was.
Status init_log(const LogOptions& options);

// Opens the file anew, for log rotation (SIGHUP): the old one may have been renamed. Nothing to do for
// stderr.
Status reopen_log();

bool log_enabled(LogLevel level);
void write_log(LogLevel level, std::string_view text);

template <class... Args>
void log_debug(fmt::format_string<Args...> format, Args&&... args) {
  if (log_enabled(LogLevel::kDebug))
    write_log(LogLevel::kDebug, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void log_info(fmt::format_string<Args...> format, Args&&... args) {
  if (log_enabled(LogLevel::kInfo))
    write_log(LogLevel::kInfo, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void log_warning(fmt::format_string<Args...> format, Args&&... args) {
  if (log_enabled(LogLevel::kWarning)) {
    write_log(LogLevel::kWarning, fmt::format(format, std::forward<Args>(args)...));
  }
}
template <class... Args>
void log_error(fmt::format_string<Args...> format, Args&&... args) {
  if (log_enabled(LogLevel::kError))
    write_log(LogLevel::kError, fmt::format(format, std::forward<Args>(args)...));
}

// Lets a line that a peer can provoke through at most once per interval. Not thread-safe.
class LogThrottle {
 public:
  explicit LogThrottle(double interval_seconds = 5.0) : interval_(interval_seconds) {}
  // `now`: any clock's seconds. The number of occurrences since the last admitted one, this one included; 0:
  // keep silent.
  std::uint64_t admit(double now);

 private:
  double interval_;
  std::optional<double> last_;
  std::uint64_t pending_ = 0;
};

}  // namespace seng
