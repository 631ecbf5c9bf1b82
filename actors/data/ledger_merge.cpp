#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "actors/data/ledger.h"

namespace seng {
namespace {

// The membership whose rows count, for each step that stays committed.
std::map<std::uint64_t, GroupEpoch> counted_epochs(const std::vector<std::vector<LedgerRow>>& ledgers) {
  std::map<std::uint64_t, GroupEpoch> newest;  // by step: the last that committed it
  for (const auto& ledger : ledgers) {
    for (const LedgerRow& row : ledger) {
      if (row.committed) newest[row.step] = std::max(newest[row.step], row.group_epoch);
    }
  }
  GroupEpoch so_far;  // the last membership that committed this step or an earlier one
  for (auto step = newest.begin(); step != newest.end();) {
    so_far = std::max(so_far, step->second);
    step = step->second < so_far ? newest.erase(step) : std::next(step);
  }
  return newest;
}

Status check_own_rows(std::vector<LedgerRow> uses) {
  std::sort(uses.begin(), uses.end());
  const auto twice = std::adjacent_find(uses.begin(), uses.end());
  if (twice == uses.end()) return {};
  return fail(ErrorCode::kCorrupt,
              fmt::format("an actor's ledger has sample {} of epoch {} twice in step {} of membership {}",
                          twice->sample, twice->epoch, twice->step, to_string(twice->group_epoch)));
}

}  // namespace

Result<std::vector<UsedSample>> merge_ledgers(const std::vector<std::vector<LedgerRow>>& ledgers) {
  const auto counted = counted_epochs(ledgers);
  std::vector<UsedSample> used;
  for (const auto& ledger : ledgers) {
    std::vector<LedgerRow> uses;
    for (const LedgerRow& row : ledger) {
      if (row.committed) continue;
      uses.push_back(row);
      const auto found = counted.find(row.step);
      if (found != counted.end() && found->second == row.group_epoch)
        used.push_back({row.step, row.epoch, row.sample});
    }
    SENG_TRY(check_own_rows(std::move(uses)));
  }
  std::sort(used.begin(), used.end());
  return used;
}

}  // namespace seng
