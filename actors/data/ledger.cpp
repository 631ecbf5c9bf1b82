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
constexpr std::string_view kCommitted = "committed,\n";
constexpr std::size_t kLedgerReadBytes = 256 * 1024;

Status write_all(int fd, std::string_view bytes, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t done = ::write(fd, bytes.data(), bytes.size());
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) return fail(errno_error("cannot write ledger " + path));
    bytes.remove_prefix(static_cast<std::size_t>(done));
  }
  return {};
}

Status cut(int fd, std::uint64_t size, const std::string& path) {
  if (::ftruncate(fd, static_cast<off_t>(size)) == 0) return {};
  return fail(errno_error("cannot cut the unfinished row off ledger " + path));
}

template <class T>
bool take_number(std::string_view& text, char end, T* value) {
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), *value);
  const std::size_t used = static_cast<std::size_t>(rest - text.data());
  if (error != std::errc() || used >= text.size() || *rest != end) return false;
  text.remove_prefix(used + 1);
  return true;
}

bool take_mark(std::string_view& text, std::string_view mark) {
  if (!text.starts_with(mark)) return false;
  text.remove_prefix(mark.size());
  return true;
}

// `text` is one line with its end.
bool parse_row(std::string_view text, LedgerRow* row) {
  if (!take_number(text, '.', &row->group_epoch.incarnation) ||
      !take_number(text, ',', &row->group_epoch.counter) || !take_number(text, ',', &row->step) ||
      row->step == 0)
    return false;
  row->committed = take_mark(text, kCommitted);
  if (row->committed) return text.empty();
  return take_number(text, ',', &row->epoch) && take_number(text, '\n', &row->sample) && text.empty();
}

// Calls take(row) for each whole row and returns the length of the whole rows with the header: 0 when the
// file ends inside the header.
template <class Take>
Result<std::uint64_t> scan(int fd, const std::string& path, Take take) {
  std::string text;
  std::uint64_t size = 0, line = 0;
  std::vector<char> chunk(kLedgerReadBytes);
  const auto wrong = [&](std::string_view expected) {
    return fail(ErrorCode::kCorrupt,
                fmt::format("ledger {}, line {}: expected {}", path, line + 1, expected));
  };
  const std::string_view header_text = kHeader.substr(0, kHeader.size() - 1);
  for (ssize_t got = 1; got != 0;) {
    got = ::read(fd, chunk.data(), chunk.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail(errno_error("cannot read ledger " + path));
    text.append(chunk.data(), static_cast<std::size_t>(got));
    std::string_view rest = text;
    for (std::size_t end; (end = rest.find('\n')) != rest.npos; ++line) {
      const std::string_view row = rest.substr(0, end + 1);
      LedgerRow values;
      if (line == 0) {
        if (row != kHeader) return wrong(header_text);
      } else if (!parse_row(row, &values)) {
        return wrong("EPOCH.COUNT,STEP,EPOCH,SAMPLE or EPOCH.COUNT,STEP,committed, with a step from 1");
      } else {
        take(values);
      }
      rest.remove_prefix(end + 1);
      size += end + 1;
    }
    if (rest.size() > kLedgerMaxLine) return wrong("a shorter line");
    text.erase(0, text.size() - rest.size());
  }
  if (line == 0 && !kHeader.starts_with(text)) return wrong(header_text);
  return size;
}

}  // namespace

Result<Ledger> Ledger::create(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  if (!fd) return fail(errno_error("cannot open ledger " + path));
  auto size = scan(fd.get(), path, [](const LedgerRow&) {});
  if (!size) return fail(size.error());
  SENG_TRY(cut(fd.get(), *size, path));
  Ledger ledger(std::move(fd), path, *size);
  if (*size == 0) {
    ledger.pending_ = kHeader;
    SENG_TRY(ledger.publish());
  }
  return ledger;
}

void Ledger::begin_step(GroupEpoch group_epoch, std::uint64_t step) {
  step_ = fmt::format("{}.{},{},", group_epoch.incarnation, group_epoch.counter, step);
}

void Ledger::add(std::uint64_t epoch, std::uint32_t sample) {
  fmt::format_to(std::back_inserter(pending_), "{}{},{}\n", step_, epoch, sample);
}

Status Ledger::publish() {
  // Where the rest of a torn row cannot be cut off, nothing may be written behind it.
  Status written = torn_ ? cut(fd_.get(), size_, path_) : Status();
  if (written) written = write_all(fd_.get(), pending_, path_);
  if (written) {
    size_ += pending_.size();
    pending_.clear();
    torn_ = false;
    return written;
  }
  torn_ = !cut(fd_.get(), size_, path_);
  if (pending_.size() <= kLedgerMaxPending) return written;
  pending_.clear();
  return fail(written.error().with_context("rows of the ledger are lost"));
}

Status Ledger::commit(GroupEpoch group_epoch, std::uint64_t step) {
  fmt::format_to(std::back_inserter(pending_), "{}.{},{},{}", group_epoch.incarnation, group_epoch.counter,
                 step, kCommitted);
  return publish();
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
