#include <algorithm>
#include <filesystem>

#include <fmt/format.h>

#include "actors/checkpoint/checkpoint.h"
#include "actors/checkpoint/directory.h"
#include "actors/checkpoint/layout.h"
#include "actors/checkpoint/safetensors.h"
#include "actors/checkpoint/storage.h"
#include "protocol/base/file.h"
#include "protocol/base/log.h"

namespace seng {
namespace {

namespace fs = std::filesystem;

std::string join(const std::string& directory, const std::string& name) {
  return (fs::path(directory) / name).string();
}

Result<ManifestFile> write_tensors(Storage& storage, const std::string& staging, const std::string& name,
                                   std::span<const TensorView> tensors, const Metadata& metadata) {
  auto written = write_safetensors(storage, join(staging, name), tensors, metadata);
  if (!written) return fail(written.error().with_context("checkpoint"));
  return ManifestFile{name, written->bytes, to_hex(written->digest)};
}

Status write_text(Storage& storage, const std::string& path, const std::string& text) {
  auto file = storage.create(path);
  if (!file) return fail(file.error());
  SENG_TRY((*file)->append(text.data(), text.size()));
  return (*file)->sync();
}

// Every announced file is there in its full size; nothing else is (a group that died may have left files
// here).
Status settle_files(Storage& storage, const std::string& staging, const Manifest& manifest) {
  for (const ManifestFile& file : manifest.files) {
    const std::string path = join(staging, file.name);
    std::error_code error;
    const auto size = fs::file_size(path, error);
    if (error) return fail(ErrorCode::kIo, "cannot find " + path + ": " + error.message());
    if (size != file.bytes) {
      return fail(ErrorCode::kIo,
                  fmt::format("{} has {} bytes, its writer announced {}", path, size, file.bytes));
    }
  }
  std::error_code error;
  std::vector<std::string> others;
  for (fs::directory_iterator at(staging, error), end; !error && at != end; at.increment(error)) {
    const std::string name = at->path().filename().string();
    const bool announced = std::any_of(manifest.files.begin(), manifest.files.end(),
                                       [&](const ManifestFile& file) { return file.name == name; });
    if (!announced) others.push_back(at->path().string());
  }
  if (error) return fail(ErrorCode::kIo, "cannot list " + staging + ": " + error.message());
  for (const std::string& path : others) SENG_TRY(storage.remove_tree(path));
  return {};
}

// The staging directory becomes `target`. One that is there, of a run that was taken back behind this step,
// is swapped out, so that a good checkpoint of the step exists at every moment.
Status put_in_place(Storage& storage, const std::string& directory, const std::string& staging,
                    const std::string& target, std::uint64_t step) {
  std::error_code error;
  if (!fs::exists(fs::symlink_status(target, error))) return storage.rename(staging, target);
  // The old one is then what lies in the staging directory, which goes with the pruning.
  Status swapped = storage.exchange(staging, target);
  if (swapped || swapped.error().code != ErrorCode::kUnsupported) return swapped;
  const std::string old = join(directory, entry_name(EntryKind::kDiscarded, step));
  SENG_TRY(storage.rename(target, old));
  Status renamed = storage.rename(staging, target);
  if (!renamed) (void)storage.rename(old, target);
  return renamed;
}

bool is_complete(const std::string& directory) {
  const std::string path = join(directory, kManifestName);
  auto text = read_file(path, kManifestMaxBytes);
  if (!text) return false;
  auto manifest = parse_manifest(*text, path);
  if (!manifest) return false;
  return std::all_of(manifest->files.begin(), manifest->files.end(), [&](const ManifestFile& file) {
    std::error_code error;
    return fs::file_size(join(directory, file.name), error) == file.bytes && !error;
  });
}

// What cannot be removed now is tried again after the next checkpoint.
void prune(Storage& storage, const std::string& directory, std::uint64_t committed, std::uint32_t keep,
           GroupEpoch membership) {
  std::vector<DirectoryEntry> entries;
  std::error_code error;
  for (fs::directory_iterator at(directory, error), end; !error && at != end; at.increment(error)) {
    auto entry = parse_entry_name(at->path().filename().string());
    if (!entry) continue;
    entry->complete = entry->kind == EntryKind::kCheckpoint && is_complete(at->path().string());
    entries.push_back(*entry);
  }
  for (const DirectoryEntry& entry : entries_to_remove(entries, committed, keep, membership)) {
    std::string path = join(directory, entry_name(entry.kind, entry.step, entry.membership));
    Status removed;
    if (entry.kind == EntryKind::kCheckpoint) {
      // Out of sight first: a removal that is interrupted must not leave half a checkpoint under its name.
      const std::string aside = join(directory, entry_name(EntryKind::kDiscarded, entry.step));
      (void)storage.remove_tree(aside);
      removed = storage.rename(path, aside);
      path = aside;
    }
    if (removed) removed = storage.remove_tree(path);
    if (!removed) log_warning("old checkpoint stays until the next commit: {}", removed.error().message);
  }
}

}  // namespace

Result<std::string> open_staging(const std::string& checkpoints_dir, std::uint64_t step, Storage& storage,
                                 GroupEpoch membership) {
  const std::string path = join(checkpoints_dir, entry_name(EntryKind::kStaging, step, membership));
  if (Status made = storage.make_directory(path); !made) return fail(made.error().with_context("checkpoint"));
  return path;
}

void discard_staging(const std::string& staging, Storage& storage) {
  if (Status removed = storage.remove_tree(staging); !removed) log_warning("{}", removed.error().message);
}

Result<std::vector<ManifestFile>> write_model(const std::string& staging, std::span<const Block> blocks,
                                              std::span<const float> parameters,
                                              std::span<const float> statistics,
                                              std::span<const float> momentum, std::uint64_t step,
                                              Storage& storage) {
  const FlatSizes sizes = flat_sizes(blocks);
  SENG_CHECK(parameters.size() == sizes.parameters && statistics.size() == sizes.statistics &&
                 momentum.size() == sizes.parameters,
             "the arrays have the network's sizes");
  const auto batches = static_cast<std::int64_t>(step);
  std::vector<TensorView> model, optimizer;
  for (const LayoutTensor& tensor : model_layout(blocks)) {
    if (tensor.source == ValueSource::kBatchesTracked) {
      model.push_back({tensor.name, TensorType::kI64, tensor.shape, &batches});
    } else {
      const auto values = tensor.source == ValueSource::kParameters ? parameters : statistics;
      model.push_back({tensor.name, TensorType::kF32, tensor.shape, values.data() + tensor.offset});
    }
  }
  for (const LayoutTensor& tensor : optimizer_layout(blocks)) {
    optimizer.push_back({tensor.name, TensorType::kF32, tensor.shape, momentum.data() + tensor.offset});
  }
  auto model_file = write_tensors(storage, staging, kModelName, model, {{"format", "pt"}});
  if (!model_file) return fail(model_file.error());
  auto optimizer_file = write_tensors(storage, staging, kOptimizerName, optimizer, {{"format", "pt"}});
  if (!optimizer_file) {
    (void)storage.remove_file(join(staging, kModelName));
    return fail(optimizer_file.error());
  }
  return std::vector<ManifestFile>{*model_file, *optimizer_file};
}

Result<ManifestFile> write_curvature(const std::string& staging, const std::string& file_name,
                                     std::span<const Block> blocks, std::span<const CurvatureValues> values,
                                     Storage& storage) {
  std::vector<CurvatureView> views;
  std::vector<std::vector<std::uint16_t>> narrowed(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    const CurvatureValues& each = values[i];
    std::span<const std::byte> bytes = std::as_bytes(std::span(each.values));
    if (each.stored == Precision::kBf16) {
      narrowed[i].resize(each.values.size());
      narrow(each.values.data(), narrowed[i].data(), each.values.size());
      bytes = std::as_bytes(std::span(narrowed[i]));
    }
    views.push_back({each.block, each.step, each.lambda, bytes, {}, each.stored, each.waiting});
  }
  return write_curvature(staging, file_name, blocks, std::span<const CurvatureView>(views), storage);
}

Result<ManifestFile> write_curvature(const std::string& staging, const std::string& file_name,
                                     std::span<const Block> blocks, std::span<const CurvatureView> values,
                                     Storage& storage) {
  SENG_CHECK(is_curvature_file(file_name), file_name);
  std::vector<TensorView> tensors;
  Metadata metadata = {{"format", "pt"}};
  for (const CurvatureView& curvature : values) {
    SENG_CHECK(curvature.block < blocks.size(), "curvature of a block of the network");
    const Block& block = blocks[curvature.block];
    tensors.push_back({curvature_tensor(block, curvature.waiting),
                       curvature.stored == Precision::kBf16 ? TensorType::kBf16 : TensorType::kF32,
                       {static_cast<std::int64_t>((curvature.first.size() + curvature.second.size()) /
                                                  bytes_of(curvature.stored))},
                       curvature.first.data(),
                       curvature.second});
    metadata[curvature_step_key(block, curvature.waiting)] = std::to_string(curvature.step);
    metadata[curvature_lambda_key(block, curvature.waiting)] =
        fmt::format("{}", curvature.lambda);  // shortest that reads back equal
  }
  return write_tensors(storage, staging, file_name, tensors, metadata);
}

Result<std::string> commit_checkpoint(const std::string& checkpoints_dir, const std::string& staging,
                                      const Manifest& manifest, std::uint32_t keep, Storage& storage) {
  const std::string target = join(checkpoints_dir, entry_name(EntryKind::kCheckpoint, manifest.step));
  const auto publish = [&]() -> Status {
    SENG_TRY(settle_files(storage, staging, manifest));
    SENG_TRY(write_text(storage, join(staging, kManifestName), to_json(manifest)));
    SENG_TRY(storage.sync_directory(staging));
    // One from a removal that was interrupted would be in the way of the next.
    SENG_TRY(storage.remove_tree(join(checkpoints_dir, entry_name(EntryKind::kDiscarded, manifest.step))));
    return put_in_place(storage, checkpoints_dir, staging, target, manifest.step);
  };
  if (Status published = publish(); !published) {
    (void)storage.remove_tree(staging);
    return fail(published.error().with_context("checkpoint"));
  }
  if (Status synced = storage.sync_directory(checkpoints_dir); !synced) {
    return fail(synced.error().with_context("checkpoint"));
  }
  const auto entry = parse_entry_name(fs::path(staging).filename().string());
  prune(storage, checkpoints_dir, manifest.step, keep, entry ? entry->membership : GroupEpoch{});
  return target;
}

}  // namespace seng
