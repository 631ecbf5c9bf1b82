// Names inside a job's checkpoints directory, and the decision which of them go.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace seng {

inline constexpr char kManifestName[] = "manifest.json";
inline constexpr char kModelName[] = "model.safetensors";
inline constexpr char kOptimizerName[] = "optimizer.safetensors";

enum class EntryKind {
  kCheckpoint,  // step-00000200: committed, if its manifest is there
  kStaging,     // .step-00000200.staging: being written, or left by a group that died
  kDiscarded,   // .step-00000200.discarded: being removed
};
struct DirectoryEntry {
  EntryKind kind = EntryKind::kCheckpoint;
  std::uint64_t step = 0;
  bool complete = true;  // a checkpoint whose manifest and files' sizes are right
  auto operator<=>(const DirectoryEntry&) const = default;
};

std::string entry_name(EntryKind kind, std::uint64_t step);
// Nothing for a name that entry_name does not give: such files are never touched.
std::optional<DirectoryEntry> parse_entry_name(const std::string& name);

// What goes once the checkpoint of step `committed` is there: discarded ones, staging up to that step, and
// the checkpoints older than the `keep` newest complete ones. Never `committed` itself. keep 0 counts as 1.
std::vector<DirectoryEntry> entries_to_remove(const std::vector<DirectoryEntry>& entries,
                                              std::uint64_t committed, std::uint32_t keep);

}  // namespace seng
