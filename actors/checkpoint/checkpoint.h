// Checkpoints: a directory of safetensors files and a JSON manifest, written aside, synced, renamed.
// README.md of this folder specifies the files.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "actors/engine/bf16.h"
#include "actors/engine/block.h"
#include "protocol/base/error.h"
#include "protocol/base/ids.h"
#include "protocol/base/sha256.h"

namespace seng {

class Storage;  // storage.h; tests give their own
Storage& posix_storage();

// ---- hashes ----
// Over, in block order: each parameter tensor's bytes, then, in block order, each statistics tensor's bytes.
Digest weights_digest(std::span<const Block> blocks, std::span<const float> parameters,
                      std::span<const float> statistics);
// Over: weights digest, momentum (flat), the curvature digests in block order, the step and the sample
// position (little-endian uint64), where the damping adapts, lambda, predicted and loss of SavedDamping (IEEE
// doubles), and where the loss is scaled, SavedLossScale's scale (IEEE double) and good steps. `curvature`
// has one entry per block; all zeros where a block has none.
struct SavedDamping {  // DampingState of actors/optim
  double lambda = 0, predicted = 0, loss = 0;
};
struct SavedLossScale {  // LossScale of actors/optim
  double scale = 0;
  std::uint64_t good_steps = 0;
};
Digest state_digest(const Digest& weights, std::span<const float> momentum, std::span<const Digest> curvature,
                    std::uint64_t step, std::uint64_t sample_position,
                    const std::optional<SavedDamping>& damping = {},
                    const std::optional<SavedLossScale>& loss_scale = {});
// The digest of a block's curvature where a refresh waits to take effect: over both, zeros for none in force.
Digest digest_with_waiting(const Digest& in_force, const Digest& waiting);

// ---- manifest ----
struct ManifestFile {
  std::string name;
  std::uint64_t bytes = 0;
  std::string sha256;
};
// What was summed for the running epoch's report, over the steps since the last one. Not part of the state's
// hash: nothing is trained with it.
struct EpochSoFar {
  std::uint64_t steps = 0;
  double loss = 0, accuracy = 0;  // sums over the steps
};
struct Manifest {
  int format = 1;
  std::string spec_yaml;
  std::uint64_t step = 0, sample_position = 0;
  std::string weights_sha256, state_sha256;
  std::vector<ManifestFile> files;
  EpochSoFar epoch_so_far;                   // left out of the file where it has no steps
  std::optional<SavedDamping> damping;       // where it adapts
  std::optional<SavedLossScale> loss_scale;  // where the loss is scaled
};
inline constexpr std::size_t kManifestMaxBytes = std::size_t{16} << 20;
std::string to_json(const Manifest& manifest);
// Strict: an unknown, missing, repeated or ill-formed field is kCorrupt with `source` and the field's name;
// another format is kUnsupported.
Result<Manifest> parse_manifest(const std::string& json, const std::string& source);

// ---- writing: one staging directory per step, shared by the group ----
// Errors have errno's text and the path; kExhausted means a full disk. A file that failed is removed; the
// directory stays, since others may be about to write into it, until the group's leader discards it.
// commit_checkpoint removes the whole of it when it fails.
//
// "<checkpoints>/.step-00000200.2.17.staging" for the membership 2.17, so that a writer that was evicted and
// does not know it meddles with nobody's; created (0700) if missing.
Result<std::string> open_staging(const std::string& checkpoints_dir, std::uint64_t step,
                                 Storage& storage = posix_storage(), GroupEpoch membership = {});
// For a checkpoint that is given up. What cannot be removed is logged, and goes with a later commit.
void discard_staging(const std::string& staging, Storage& storage = posix_storage());
// model.safetensors (parameters and running statistics under PyTorch's names, num_batches_tracked included)
// and optimizer.safetensors (momentum); synced.
Result<std::vector<ManifestFile>> write_model(const std::string& staging, std::span<const Block> blocks,
                                              std::span<const float> parameters,
                                              std::span<const float> statistics,
                                              std::span<const float> momentum, std::uint64_t step,
                                              Storage& storage = posix_storage());
struct CurvatureValues {
  std::size_t block = 0;
  std::uint64_t step = 0;
  double lambda = 0;
  std::vector<float> values;
  Precision stored = Precision::kF32;  // kBf16: each value is one, and takes 2 bytes in the file
  bool waiting = false;                // a refresh that takes effect in the next step
};
// The same where they lie, in two places, as stored.
struct CurvatureView {
  std::size_t block = 0;
  std::uint64_t step = 0;
  double lambda = 0;
  std::span<const std::byte> first, second;
  Precision stored = Precision::kF32;
  bool waiting = false;
};
// curvature-<actor>.safetensors; synced.
Result<ManifestFile> write_curvature(const std::string& staging, const std::string& file_name,
                                     std::span<const Block> blocks, std::span<const CurvatureView> values,
                                     Storage& storage = posix_storage());
Result<ManifestFile> write_curvature(const std::string& staging, const std::string& file_name,
                                     std::span<const Block> blocks, std::span<const CurvatureValues> values,
                                     Storage& storage = posix_storage());
// Checks that the manifest's files are there, removes any others from the staging directory, writes
// manifest.json, syncs the directory, renames it to "step-00000200" (swapping out one that is there), syncs
// the parent, then removes all but the `keep` newest complete checkpoints (never this one) and staging
// directories of this and older steps. Returns the final directory. A failure to remove old ones is only
// logged.
Result<std::string> commit_checkpoint(const std::string& checkpoints_dir, const std::string& staging,
                                      const Manifest& manifest, std::uint32_t keep,
                                      Storage& storage = posix_storage());

// ---- reading ----
struct CheckpointContent {
  Manifest manifest;
  std::vector<float> parameters, statistics, momentum;
  std::vector<CurvatureValues> curvature;
};
// Strict as parse_manifest; model and optimizer must be listed. Looks at no other file.
Result<Manifest> read_manifest(const std::string& directory);
// Checks every file's size and hash against the manifest, names and shapes against the blocks; errors name
// the file.
Result<CheckpointContent> read_checkpoint(const std::string& directory, std::span<const Block> blocks);
// Newest first; directories without a manifest are left out, and there are none where there is no such
// directory. kIo: it cannot be read, or not to its end.
Result<std::vector<std::string>> list_checkpoints(const std::string& checkpoints_dir);

}  // namespace seng
