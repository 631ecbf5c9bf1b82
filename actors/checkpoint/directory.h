// Names inside a job's checkpoints directory, and the decision which of them go.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "protocol/base/ids.h"

namespace seng {

inline constexpr char kManifestName[] = "manifest.json";
inline constexpr char kModelName[] = "model.safetensors";
inline constexpr char kOptimizerName[] = "optimizer.safetensors";

enum class EntryKind {
  kCheckpoint,  // step-00000200: committed, if its manifest is there
  kStaging,     // .step-00000200.2.17.staging: being written in the membership 2.17, or left by one that died
  kDiscarded,   // .step-00000200.discarded: being removed
};
struct DirectoryEntry {
  EntryKind kind = EntryKind::kCheckpoint;
  std::uint64_t step = 0;
  bool complete = true;   // a checkpoint whose manifest and files' sizes are right
  GroupEpoch membership;  // kStaging: whose it is; 0.0 is left out of the name
  auto operator<=>(const DirectoryEntry&) const = default;
};

std::string entry_name(EntryKind kind, std::uint64_t step, GroupEpoch membership = {});
// Nothing for a name that entry_name does not give: such files are never touched.
std::optional<DirectoryEntry> parse_entry_name(const std::string& name);

// What goes once the membership has committed the checkpoint of step `committed`: discarded ones, its own and
// older memberships' staging up to that step, and the checkpoints older than the `keep` newest complete ones.
// Never `committed` itself, nor what a later membership writes (this one may have been evicted and not know
// it). keep 0 counts as 1.
std::vector<DirectoryEntry> entries_to_remove(const std::vector<DirectoryEntry>& entries,
                                              std::uint64_t committed, std::uint32_t keep,
                                              GroupEpoch membership = {});

}  // namespace seng
