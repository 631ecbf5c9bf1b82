// Where a command's words go: data to `out`, talk to `err`; and what kind of place that is.
#pragma once

#include <functional>
#include <istream>
#include <ostream>
#include <streambuf>
#include <string>
#include <string_view>

namespace seng {

struct Console {
  std::istream& in;
  std::ostream& out;
  std::ostream& err;
  bool out_is_terminal = false;
  bool err_is_terminal = false;
  bool color = false;                              // only on terminals, and not with NO_COLOR
  std::function<int()> width = [] { return 80; };  // columns of the terminal, now
};

// A buffered stream onto a file descriptor that remembers why writing failed.
class FdBuffer final : public std::streambuf {
 public:
  explicit FdBuffer(int fd) : fd_(fd) {}
  int error() const { return error_; }  // errno of the first failed write; 0: none

 protected:
  int overflow(int c) override;
  std::streamsize xsputn(const char* data, std::streamsize size) override;
  int sync() override;

 private:
  bool write_out();

  const int fd_;
  int error_ = 0;
  std::string pending_;
};

// Columns of the terminal behind the descriptor; COLUMNS or 80 where it does not say.
int terminal_width(int fd);

enum class Color { kNone, kGreen, kRed, kYellow, kBold, kDim };
// The text in that colour, where the console shows colours.
std::string colored(const Console& console, Color color, std::string_view text);

}  // namespace seng
