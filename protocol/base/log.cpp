#include "protocol/base/log.h"

#include <atomic>
#include <mutex>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include "protocol/base/unique_fd.h"

namespace seng {
namespace {

spdlog::level::level_enum spdlog_level(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarning:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
  }
  return spdlog::level::info;
}

class LogState {
 public:
  LogState() { logger_ = make({}).value(); }

  Status set(const LogOptions& options) {
    auto made = make(options);
    if (!made) return fail(std::move(made).error());
    const std::lock_guard lock(mutex_);
    options_ = options;
    level_ = options.level;
    logger_ = *std::move(made);
    return {};
  }

  Status reopen() {
    LogOptions options;
    {
      const std::lock_guard lock(mutex_);
      if (options_.file.empty()) return {};
      options = options_;
    }
    return set(options);
  }

  bool enabled(LogLevel level) const { return level >= level_.load(std::memory_order_relaxed); }

  void write(LogLevel level, std::string_view text) {
    std::shared_ptr<spdlog::logger> logger;
    {
      const std::lock_guard lock(mutex_);
      logger = logger_;
    }
    logger->log(spdlog_level(level), spdlog::string_view_t(text.data(), text.size()));
  }

 private:
  static Result<std::shared_ptr<spdlog::logger>> make(const LogOptions& options) {
    std::vector<spdlog::sink_ptr> sinks;
    if (!options.file.empty()) {
      // Made here, with a private mode, so that errors have the system's text; spdlog then appends.
      const UniqueFd fd(open(options.file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
      if (!fd) return fail(errno_error("cannot write the log " + options.file));
      try {
        sinks.push_back(std::make_shared<spdlog::sinks::basic_file_sink_mt>(options.file));
      } catch (const spdlog::spdlog_ex& error) {
        return fail(ErrorCode::kIo, "cannot write the log " + options.file + ": " + error.what());
      }
    }
    if (options.file.empty() || options.also_stderr) {
      sinks.push_back(std::make_shared<spdlog::sinks::stderr_sink_mt>());
    }
    auto logger = std::make_shared<spdlog::logger>(options.name, sinks.begin(), sinks.end());
    logger->set_formatter(std::make_unique<spdlog::pattern_formatter>(
        options.name.empty() ? "%Y-%m-%d %H:%M:%S.%eZ %-7l %v" : "%Y-%m-%d %H:%M:%S.%eZ %-7l %n: %v",
        spdlog::pattern_time_type::utc));
    logger->set_level(spdlog_level(options.level));
    // Lines are few and a crash must not lose them: every one is flushed.
    logger->flush_on(spdlog::level::trace);
    return logger;
  }

  std::mutex mutex_;
  LogOptions options_;
  std::atomic<LogLevel> level_ = LogLevel::kInfo;
  std::shared_ptr<spdlog::logger> logger_;
};

LogState& state() {
  // Never destroyed: threads may still log while the process ends.
  static LogState* const instance = new LogState;
  return *instance;
}

}  // namespace

std::optional<LogLevel> log_level_of(std::string_view word) {
  if (word == "debug") return LogLevel::kDebug;
  if (word == "info") return LogLevel::kInfo;
  if (word == "warning") return LogLevel::kWarning;
  if (word == "error") return LogLevel::kError;
  return std::nullopt;
}

Status init_log(const LogOptions& options) {
  return state().set(options);
}
Status reopen_log() {
  return state().reopen();
}
bool log_enabled(LogLevel level) {
  return state().enabled(level);
}
void write_log(LogLevel level, std::string_view text) {
  state().write(level, text);
}

std::uint64_t LogThrottle::admit(double now) {
  ++pending_;
  if (last_ && now - *last_ < interval_) return 0;
  last_ = now;
  return std::exchange(pending_, 0);
}

}  // namespace seng
