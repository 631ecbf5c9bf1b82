// The ledger of an actor: which samples it used, in which step. A text file with one row a sample, specified
// in README.md of this folder.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <vector>

#include "protocol/base/error.h"
#include "protocol/base/unique_fd.h"

namespace seng {

inline constexpr char kLedgerHeader[] = "epoch,sample,step\n";
inline constexpr std::size_t kLedgerMaxLine = 64;  // three numbers of 64 bits fit

struct LedgerRow {
  std::uint64_t epoch = 0;   // from 0
  std::uint32_t sample = 0;  // index in the training set
  std::uint64_t step = 0;    // from 1
  auto operator<=>(const LedgerRow&) const = default;
};

// Appends; one thread. add() keeps rows in memory until commit() writes them.
class Ledger {
 public:
  // Makes the file (0600), or continues one after its last whole row.
  static Result<Ledger> create(const std::string& path);

  void add(std::uint64_t epoch, std::uint32_t sample, std::uint64_t step);
  // Drops the rows added since the last commit: their step was left.
  void abandon() { pending_.clear(); }
  // Hands the rows to the kernel: they outlive this process from then on. After an error the file ends with
  // the last committed row and the rows are dropped.
  Status commit();

 private:
  Ledger(UniqueFd fd, std::string path, std::uint64_t size)
      : fd_(std::move(fd)), path_(std::move(path)), size_(size) {}

  UniqueFd fd_;
  std::string path_;
  std::uint64_t size_;  // of the committed part
  std::string pending_;
};

// All whole rows, in the order they were written. A last line without its end was never committed and is left
// out; any other departure from the format is an error with file and line.
Result<std::vector<LedgerRow>> read_ledger(const std::string& path);

}  // namespace seng
