#include "actors/data/ledger.h"

#include <bit>
#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

namespace seng {
namespace {

void put(unsigned char* out, std::uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) out[i] = static_cast<unsigned char>(value >> (8 * i));
}

std::uint64_t get(const unsigned char* in, int bytes) {
  std::uint64_t value = 0;
  for (int i = 0; i < bytes; ++i) value |= std::uint64_t{in[i]} << (8 * i);
  return value;
}

std::vector<unsigned char> header() {
  std::vector<unsigned char> bytes(kLedgerHeaderBytes);
  std::memcpy(bytes.data(), kLedgerMagic, sizeof kLedgerMagic);
  put(bytes.data() + 8, kLedgerRecordBytes, 4);
  return bytes;
}

Status write_all(int fd, std::span<const unsigned char> bytes, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t done = ::write(fd, bytes.data(), bytes.size());
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) return fail(errno_error("cannot write ledger " + path));
    bytes = bytes.subspan(static_cast<std::size_t>(done));
  }
  return {};
}

Result<std::size_t> read_up_to(int fd, std::span<unsigned char> out, const std::string& path) {
  std::size_t done = 0;
  while (done < out.size()) {
    const ssize_t got = ::read(fd, out.data() + done, out.size() - done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail(errno_error("cannot read ledger " + path));
    if (got == 0) break;
    done += static_cast<std::size_t>(got);
  }
  return done;
}

// False when the file ends inside the header: its writer was stopped before the first row.
Result<bool> check_header(int fd, const std::string& path) {
  std::vector<unsigned char> found(kLedgerHeaderBytes);
  auto got = read_up_to(fd, found, path);
  if (!got) return fail(got.error());
  const std::vector<unsigned char> expected = header();
  if (!std::equal(expected.begin(), expected.begin() + static_cast<std::ptrdiff_t>(*got), found.begin())) {
    return fail(ErrorCode::kCorrupt, path + ": not a ledger: its header is not that of format 1");
  }
  return *got == kLedgerHeaderBytes;
}

}  // namespace

Result<LedgerWriter> LedgerWriter::open(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  if (!fd) return fail(errno_error("cannot open ledger " + path));
  auto whole = check_header(fd.get(), path);
  if (!whole) return fail(whole.error());
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) return fail(errno_error("cannot read ledger " + path));
  std::uint64_t size = 0;
  if (*whole) size = static_cast<std::uint64_t>(info.st_size) / kLedgerRecordBytes * kLedgerRecordBytes;
  if (::ftruncate(fd.get(), static_cast<off_t>(size)) != 0) {
    return fail(errno_error("cannot cut the unfinished end off ledger " + path));
  }
  if (!*whole) {
    SENG_TRY(write_all(fd.get(), header(), path));
    size = kLedgerHeaderBytes;
  }
  return LedgerWriter(std::move(fd), path, size);
}

Status LedgerWriter::append(std::span<const LedgerRow> rows) {
  buffer_.resize(rows.size() * kLedgerRecordBytes);
  unsigned char* out = buffer_.data();
  for (const LedgerRow& row : rows) {
    put(out, row.epoch, 4);
    put(out + 4, row.sample, 4);
    put(out + 8, row.step, 8);
    out += kLedgerRecordBytes;
  }
  if (Status written = write_all(fd_.get(), buffer_, path_); !written) {
    // Best effort: if this fails too, the reader still drops the row that is cut off.
    if (::ftruncate(fd_.get(), static_cast<off_t>(size_)) != 0) return written;
    return written;
  }
  size_ += buffer_.size();
  return {};
}

Result<std::vector<LedgerRow>> read_ledger(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return fail(errno_error("cannot open ledger " + path));
  auto whole = check_header(fd.get(), path);
  if (!whole) return fail(whole.error());
  std::vector<LedgerRow> rows;
  std::vector<unsigned char> buffer(kLedgerRecordBytes * 4096);
  for (std::size_t got = buffer.size(); *whole && got == buffer.size();) {
    auto part = read_up_to(fd.get(), buffer, path);
    if (!part) return fail(part.error());
    got = *part;
    for (std::size_t at = 0; at + kLedgerRecordBytes <= got; at += kLedgerRecordBytes) {
      LedgerRow row;
      row.epoch = static_cast<std::uint32_t>(get(buffer.data() + at, 4));
      row.sample = static_cast<std::uint32_t>(get(buffer.data() + at + 4, 4));
      row.step = get(buffer.data() + at + 8, 8);
      if (row.step == 0) {
        return fail(ErrorCode::kCorrupt,
                    fmt::format("{}: row {} is of step 0; steps count from 1", path, rows.size()));
      }
      rows.push_back(row);
    }
  }
  return rows;
}

}  // namespace seng
