#include "protocol/base/error.h"

#include <cerrno>
#include <system_error>

#include <fmt/format.h>

namespace seng {

std::string_view error_code_name(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalidArgument:
      return "invalid argument";
    case ErrorCode::kNotFound:
      return "not found";
    case ErrorCode::kExists:
      return "exists";
    case ErrorCode::kCorrupt:
      return "corrupt";
    case ErrorCode::kUnavailable:
      return "unavailable";
    case ErrorCode::kTimeout:
      return "timeout";
    case ErrorCode::kIo:
      return "I/O error";
    case ErrorCode::kCancelled:
      return "cancelled";
    case ErrorCode::kExhausted:
      return "exhausted";
    case ErrorCode::kUnsupported:
      return "unsupported";
    case ErrorCode::kInternal:
      return "internal error";
  }
  return "unknown error";
}

Error Error::with_context(std::string_view context) const {
  std::string text(context);
  text += ": ";
  text += message;
  return Error{code, std::move(text)};
}

Error errno_error(std::string_view what) {
  const int number = errno;
  std::string text(what);
  text += ": ";
  text += std::generic_category().message(number);
  if (number == EFBIG) text += "; the limit on the size of files (ulimit -f) is in the way";
  return Error{number == ENOENT ? ErrorCode::kNotFound : ErrorCode::kIo, std::move(text)};
}

void check_failed(const char* file, int line, const char* expression, std::string_view detail) {
  std::string text = fmt::format("{}:{}: expected {}", file, line, expression);
  if (!detail.empty()) text += fmt::format(": {}", detail);
  throw InvariantError(text);
}

}  // namespace seng
