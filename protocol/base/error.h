// Errors. What comes from outside the process (a peer, a file, a user) is a Result; a broken invariant of our
// own is SENG_CHECK, which throws InvariantError with the place and is caught once, in main.
// Vendor libraries' failures are exceptions of type VendorError, caught where the call is made on behalf of a
// job.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include <tl/expected.hpp>

namespace seng {

// Travels on the wire as its number: never renumber.
enum class ErrorCode {
  kInvalidArgument = 1,  // the caller's input is wrong; trying again unchanged cannot help
  kNotFound = 2,
  kExists = 3,
  kCorrupt = 4,      // bytes that do not follow their format
  kUnavailable = 5,  // nobody there, or not now; trying again may help
  kTimeout = 6,
  kIo = 7,  // the operating system refused; the message has errno's text
  kCancelled = 8,
  kExhausted = 9,     // a limit: memory, disk, slots
  kUnsupported = 10,  // known, but not offered here
  kInternal = 11,
};

constexpr bool is_known(ErrorCode code) {
  return code >= ErrorCode::kInvalidArgument && code <= ErrorCode::kInternal;
}
std::string_view error_code_name(ErrorCode code);

struct Error {
  ErrorCode code = ErrorCode::kInternal;
  std::string message;  // whole sentence fragments for the user: what, where, what to do

  // Returns the same error, its message led by "context: ".
  Error with_context(std::string_view context) const;
};

template <class T>
using Result = tl::expected<T, Error>;
using Status = Result<void>;

inline tl::unexpected<Error> fail(ErrorCode code, std::string message) {
  return tl::unexpected<Error>(Error{code, std::move(message)});
}
inline tl::unexpected<Error> fail(Error error) {
  return tl::unexpected<Error>(std::move(error));
}

// "what: strerror(errno)[; what to do]", with the value of errno at the call.
Error errno_error(std::string_view what);

class InvariantError : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

class VendorError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

[[noreturn]] void check_failed(const char* file, int line, const char* expression, std::string_view detail);

}  // namespace seng

// For our own invariants only, never for input.
#define SENG_CHECK(condition, detail)                                               \
  do {                                                                              \
    if (!(condition)) ::seng::check_failed(__FILE__, __LINE__, #condition, detail); \
  } while (0)

// Returns the error of a Status or Result expression from the enclosing function.
#define SENG_TRY(expression)                                   \
  do {                                                         \
    if (auto seng_try_result = (expression); !seng_try_result) \
      return ::seng::fail(std::move(seng_try_result).error()); \
  } while (0)
