// The ledger of an actor: which samples it used, in which step. README.md of this folder specifies the file.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "protocol/base/error.h"
#include "protocol/base/unique_fd.h"

namespace seng {

inline constexpr char kLedgerMagic[8] = {'S', 'E', 'N', 'G', 'L', 'D', 'G', '1'};
inline constexpr std::size_t kLedgerHeaderBytes = 16;
inline constexpr std::size_t kLedgerRecordBytes = 16;

struct LedgerRow {
  std::uint32_t epoch = 0;   // from 0
  std::uint32_t sample = 0;  // index in the training set
  std::uint64_t step = 0;    // from 1
  auto operator<=>(const LedgerRow&) const = default;
};

// Appends; one thread. An existing ledger is continued after its last whole row.
class LedgerWriter {
 public:
  static Result<LedgerWriter> open(const std::string& path);

  // Hands the rows of one committed step to the kernel in one write: they outlive the process from then on.
  // After an error nothing of the step is in the file.
  Status append(std::span<const LedgerRow> rows);

 private:
  LedgerWriter(UniqueFd fd, std::string path, std::uint64_t size)
      : fd_(std::move(fd)), path_(std::move(path)), size_(size) {}

  UniqueFd fd_;
  std::string path_;
  std::uint64_t size_;
  std::vector<unsigned char> buffer_;
};

// All whole rows. A last row that is cut off was never committed and is left out; any other departure from
// the format is an error that names the file.
Result<std::vector<LedgerRow>> read_ledger(const std::string& path);

}  // namespace seng
