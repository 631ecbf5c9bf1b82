#include "daemon/actor_log.h"

#include <algorithm>
#include <cerrno>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "protocol/base/unique_fd.h"

namespace seng {

Result<LogChunk> read_log_chunk(const std::string& path, std::uint64_t offset, std::uint64_t max_bytes) {
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd && errno == ENOENT) return LogChunk{};
  if (!fd) return fail(errno_error("cannot open " + path));
  struct stat info {};
  if (fstat(fd.get(), &info) != 0) return fail(errno_error("cannot read " + path));
  LogChunk out;
  out.size = static_cast<std::uint64_t>(info.st_size);
  if (offset >= out.size) return out;
  out.data.resize(std::min(max_bytes, out.size - offset));
  std::size_t done = 0;
  while (done < out.data.size()) {
    const ssize_t got =
        pread(fd.get(), out.data.data() + done, out.data.size() - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail(errno_error("cannot read " + path));
    if (got == 0) break;
    done += static_cast<std::size_t>(got);
  }
  out.data.resize(done);
  return out;
}

std::string shortened(std::string text, std::size_t limit) {
  if (text.size() <= limit) return text;
  std::size_t end = limit;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80)
    --end;  // within a UTF-8 character
  text.resize(end);
  return text + "...";
}

std::string last_log_line(const std::string& path) {
  constexpr std::uint64_t kTail = 8192;
  const auto whole = read_log_chunk(path, 0, 0);
  if (!whole) return "";
  const auto tail = read_log_chunk(path, whole->size > kTail ? whole->size - kTail : 0, kTail);
  if (!tail) return "";
  const std::string& text = tail->data;
  const std::size_t last = text.find_last_not_of(" \t\r\n");
  if (last == std::string::npos) return "";
  const std::size_t before = text.rfind('\n', last);
  std::string line = text.substr(before == std::string::npos ? 0 : before + 1, last - before);
  if (before == std::string::npos) line = text.substr(0, last + 1);
  std::erase_if(line, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
  return shortened(std::move(line), 500);
}

}  // namespace seng
