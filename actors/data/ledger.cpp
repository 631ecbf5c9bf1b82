#include "actors/data/ledger.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <iterator>
#include <string_view>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

namespace seng {
namespace {

constexpr std::string_view kHeader = kLedgerHeader;
constexpr std::size_t kChunk = 256 * 1024;

Status write_all(int fd, std::string_view bytes, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t done = ::write(fd, bytes.data(), bytes.size());
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) return fail(errno_error("cannot write ledger " + path));
    bytes.remove_prefix(static_cast<std::size_t>(done));
  }
  return {};
}

template <class T>
bool take_number(std::string_view& text, char end, T* value) {
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), *value);
  const std::size_t used = static_cast<std::size_t>(rest - text.data());
  if (error != std::errc() || used >= text.size() || *rest != end) return false;
  text.remove_prefix(used + 1);
  return true;
}

// Calls take(row) for each whole row and returns the length of the whole rows with the header: 0 when the
// file ends inside the header.
template <class Take>
Result<std::uint64_t> scan(int fd, const std::string& path, Take take) {
  std::string text;
  std::uint64_t size = 0, line = 0;
  std::vector<char> chunk(kChunk);
  const auto wrong = [&](const char* expected) {
    return fail(ErrorCode::kCorrupt,
                fmt::format("ledger {}, line {}: expected {}", path, line + 1, expected));
  };
  for (ssize_t got = 1; got != 0;) {
    got = ::read(fd, chunk.data(), chunk.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail(errno_error("cannot read ledger " + path));
    text.append(chunk.data(), static_cast<std::size_t>(got));
    std::string_view rest = text;
    for (std::size_t end; (end = rest.find('\n')) != rest.npos; ++line) {
      std::string_view row = rest.substr(0, end + 1);
      LedgerRow values;
      if (line == 0) {
        if (row != kHeader) return wrong("\"epoch,sample,step\"");
      } else if (!take_number(row, ',', &values.epoch) || !take_number(row, ',', &values.sample) ||
                 !take_number(row, '\n', &values.step) || values.step == 0) {
        return wrong("an epoch, a sample's index and a step (from 1), with commas between them");
      } else {
        take(values);
      }
      rest.remove_prefix(end + 1);
      size += end + 1;
    }
    if (rest.size() > kLedgerMaxLine) return wrong("a shorter line");
    text.erase(0, text.size() - rest.size());
  }
  if (line == 0 && !kHeader.starts_with(text)) return wrong("\"epoch,sample,step\"");
  return size;
}

}  // namespace

Result<Ledger> Ledger::create(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  if (!fd) return fail(errno_error("cannot open ledger " + path));
  auto size = scan(fd.get(), path, [](const LedgerRow&) {});
  if (!size) return fail(size.error());
  if (::ftruncate(fd.get(), static_cast<off_t>(*size)) != 0) {
    return fail(errno_error("cannot cut the unfinished row off ledger " + path));
  }
  Ledger ledger(std::move(fd), path, *size);
  if (*size == 0) {
    ledger.pending_ = kHeader;
    SENG_TRY(ledger.commit());
  }
  return ledger;
}

void Ledger::add(std::uint64_t epoch, std::uint32_t sample, std::uint64_t step) {
  fmt::format_to(std::back_inserter(pending_), "{},{},{}\n", epoch, sample, step);
}

Status Ledger::commit() {
  const Status written = write_all(fd_.get(), pending_, path_);
  if (written) {
    size_ += pending_.size();
  } else {
    // Where even this fails, a row that was cut off is dropped by the next reader.
    [[maybe_unused]] const int ignored = ::ftruncate(fd_.get(), static_cast<off_t>(size_));
  }
  pending_.clear();
  return written;
}

Result<std::vector<LedgerRow>> read_ledger(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return fail(errno_error("cannot open ledger " + path));
  std::vector<LedgerRow> rows;
  auto size = scan(fd.get(), path, [&](const LedgerRow& row) { rows.push_back(row); });
  if (!size) return fail(size.error());
  return rows;
}

}  // namespace seng
