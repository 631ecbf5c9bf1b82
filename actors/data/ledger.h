// The ledger of an actor: which samples it used, in which step of which membership. A text file with one row
// a sample, written ahead of the step, and one for each step that it committed; specified in README.md of
// this folder.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <vector>

#include "protocol/base/error.h"
#include "protocol/base/ids.h"
#include "protocol/base/unique_fd.h"

namespace seng {

inline constexpr char kLedgerHeader[] = "group_epoch,step,epoch,sample\n";
inline constexpr std::size_t kLedgerMaxLine = 128;  // five numbers of 64 bits fit
// Rows that wait for a disk with room; a job's slowest disk gets minutes.
inline constexpr std::size_t kLedgerMaxPending = std::size_t{64} << 20;

struct LedgerRow {
  GroupEpoch group_epoch;
  std::uint64_t step = 0;    // from 1
  bool committed = false;    // the mark of a committed step; else the use of a sample:
  std::uint64_t epoch = 0;   // from 0
  std::uint32_t sample = 0;  // index in the training set
  auto operator<=>(const LedgerRow&) const = default;
};

// Appends; one thread. For each step: begin_step, add for each sample, publish before anything that the
// samples gave leaves this process, commit once the step is applied. Nothing is said of a step that was left:
// its rows have no mark, and the membership that does it again has a greater epoch.
class Ledger {
 public:
  // Makes the file (0600), or continues one after its last whole row.
  static Result<Ledger> create(const std::string& path);

  void begin_step(GroupEpoch group_epoch, std::uint64_t step);
  void add(std::uint64_t epoch, std::uint32_t sample);
  // Hands the rows to the kernel: they outlive this process from then on. After an error the file ends with
  // a whole row, and the rows wait for the next publish or commit (64 MiB of them; then they are dropped, and
  // the error says so).
  Status publish();
  // Marks the step and hands the mark over, as publish does.
  Status commit(GroupEpoch group_epoch, std::uint64_t step);

 private:
  Ledger(UniqueFd fd, std::string path, std::uint64_t size)
      : fd_(std::move(fd)), path_(std::move(path)), size_(size) {}

  UniqueFd fd_;
  std::string path_;
  std::uint64_t size_;  // of the whole rows in the file
  bool torn_ = false;   // a part of a row may follow them
  std::string step_;    // "2.17,41," of the step in hand
  std::string pending_;
};

// All whole rows, in the order they were written. A last line without its end is left out; any other
// departure from the format is an error with file and line.
Result<std::vector<LedgerRow>> read_ledger(const std::string& path);

struct UsedSample {
  std::uint64_t step = 0, epoch = 0;
  std::uint32_t sample = 0;
  auto operator<=>(const UsedSample&) const = default;
};

// Which samples the job's committed steps used, sorted by step, epoch, sample, from all rows of all its
// actors, `ledgers[i]` one actor's. Of a step that was done in several memberships (a member was lost, or the
// job went back to a checkpoint) the last that committed it counts, with the rows of every actor, also of
// those that died before they could mark it. A step counts not at all when a later membership committed an
// earlier step: it was taken back, and not done again.
// kCorrupt: an actor says twice that it used a sample in one step of one membership.
Result<std::vector<UsedSample>> merge_ledgers(const std::vector<std::vector<LedgerRow>>& ledgers);

}  // namespace seng
