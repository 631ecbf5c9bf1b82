#include "cli/console.h"

#include <cerrno>
#include <cstdlib>

#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

namespace seng {
namespace {
constexpr std::size_t kBufferBytes = 1 << 16;
}

bool FdBuffer::write_out() {
  std::size_t written = 0;
  while (written < pending_.size() && error_ == 0) {
    const ssize_t n = write(fd_, pending_.data() + written, pending_.size() - written);
    if (n >= 0) {
      written += static_cast<std::size_t>(n);
    } else if (errno == EAGAIN) {
      pollfd item{fd_, POLLOUT, 0};
      poll(&item, 1, -1);
    } else if (errno != EINTR) {
      error_ = errno;
    }
  }
  pending_.clear();
  return error_ == 0;
}

int FdBuffer::overflow(int c) {
  if (c == traits_type::eof()) return sync();
  const char one = static_cast<char>(c);
  return xsputn(&one, 1) == 1 ? c : traits_type::eof();
}

std::streamsize FdBuffer::xsputn(const char* data, std::streamsize size) {
  if (error_ != 0) return 0;
  pending_.append(data, static_cast<std::size_t>(size));
  if (pending_.size() >= kBufferBytes && !write_out()) return 0;
  return size;
}

int FdBuffer::sync() {
  return error_ == 0 && write_out() ? 0 : -1;
}

int terminal_width(int fd) {
  winsize size{};
  if (ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  const char* columns = std::getenv("COLUMNS");
  const int said = columns != nullptr ? std::atoi(columns) : 0;
  return said > 0 ? said : 80;
}

std::string colored(const Console& console, Color color, std::string_view text) {
  static constexpr const char* kCodes[] = {"", "32", "31", "33", "1", "2"};
  if (!console.color || color == Color::kNone) return std::string(text);
  return "\033[" + std::string(kCodes[static_cast<int>(color)]) + "m" + std::string(text) + "\033[0m";
}

}  // namespace seng
