#include "actors/checkpoint/directory.h"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>

namespace seng {

std::string entry_name(EntryKind kind, std::uint64_t step, GroupEpoch membership) {
  switch (kind) {
    case EntryKind::kCheckpoint:
      return fmt::format("step-{:08}", step);
    case EntryKind::kStaging:
      if (membership == GroupEpoch{}) return fmt::format(".step-{:08}.staging", step);
      return fmt::format(".step-{:08}.{}.staging", step, to_string(membership));
    case EntryKind::kDiscarded:
      return fmt::format(".step-{:08}.discarded", step);
  }
  return {};
}

std::optional<DirectoryEntry> parse_entry_name(const std::string& name) {
  const std::size_t dash = name.find('-');
  if (dash == name.npos) return std::nullopt;
  std::uint64_t step = 0;
  const char* const end = name.data() + name.size();
  const char* at = std::from_chars(name.data() + dash + 1, end, step).ptr;
  GroupEpoch membership;
  if (at != end) at = std::from_chars(at + 1, end, membership.incarnation).ptr;
  if (at != end) std::from_chars(at + 1, end, membership.counter);
  if (name == entry_name(EntryKind::kStaging, step, membership))
    return DirectoryEntry{EntryKind::kStaging, step, true, membership};
  for (const EntryKind kind : {EntryKind::kCheckpoint, EntryKind::kStaging, EntryKind::kDiscarded}) {
    if (name == entry_name(kind, step)) return DirectoryEntry{kind, step};
  }
  return std::nullopt;
}

std::vector<DirectoryEntry> entries_to_remove(const std::vector<DirectoryEntry>& entries,
                                              std::uint64_t committed, std::uint32_t keep,
                                              GroupEpoch membership) {
  std::vector<std::uint64_t> complete;
  for (const DirectoryEntry& entry : entries) {
    if (entry.kind == EntryKind::kCheckpoint && entry.complete) complete.push_back(entry.step);
  }
  std::sort(complete.rbegin(), complete.rend());
  const std::size_t kept = std::min<std::size_t>(std::max<std::uint32_t>(keep, 1), complete.size());
  const std::uint64_t oldest_kept = kept > 0 ? complete[kept - 1] : 0;
  std::vector<DirectoryEntry> result;
  for (const DirectoryEntry& entry : entries) {
    const bool goes =
        entry.kind == EntryKind::kDiscarded ||
        (entry.kind == EntryKind::kStaging && entry.step <= committed && entry.membership <= membership) ||
        (entry.kind == EntryKind::kCheckpoint && entry.step < oldest_kept && entry.step != committed);
    if (goes) result.push_back(entry);
  }
  return result;
}

}  // namespace seng
