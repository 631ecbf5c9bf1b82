#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>

#include <fmt/format.h>

#include "actors/checkpoint/checkpoint.h"
#include "actors/checkpoint/directory.h"
#include "actors/checkpoint/layout.h"
#include "actors/checkpoint/safetensors.h"
#include "protocol/base/file.h"

namespace seng {
namespace {

namespace fs = std::filesystem;

std::string join(const std::string& directory, const std::string& name) {
  return (fs::path(directory) / name).string();
}

Error corrupt(const std::string& path, const std::string& what) {
  return {ErrorCode::kCorrupt, path + ": " + what};
}

std::string shape_text(const std::vector<std::int64_t>& shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

Status verify_file(const std::string& directory, const ManifestFile& file) {
  const std::string path = join(directory, file.name);
  std::error_code error;
  const auto size = fs::file_size(path, error);
  if (error && error != std::errc::no_such_file_or_directory)
    return fail(ErrorCode::kIo, "cannot read " + path + ": " + error.message());
  if (error)
    return fail(corrupt(path,
                        "the checkpoint is damaged: the manifest names this file, but it cannot be "
                        "read: " +
                            error.message()));
  if (size != file.bytes) {
    return fail(
        corrupt(path, fmt::format("damaged: expected {} bytes by the manifest, found {}", file.bytes, size)));
  }
  auto digest = sha256_of_file(path);
  if (!digest) return fail(digest.error());
  if (to_hex(*digest) != file.sha256) {
    return fail(corrupt(path, fmt::format("damaged: expected SHA-256 {} by the manifest, found {}",
                                          file.sha256, to_hex(*digest))));
  }
  return {};
}

// The tensor that the layout asks for, with its type and shape checked.
Result<const TensorInfo*> expect_tensor(const SafetensorsFile& file, const std::string& path,
                                        const LayoutTensor& expected) {
  const TensorInfo* tensor = file.find(expected.name);
  if (!tensor) return fail(corrupt(path, "tensor \"" + expected.name + "\" is missing"));
  const TensorType type =
      expected.source == ValueSource::kBatchesTracked ? TensorType::kI64 : TensorType::kF32;
  if (tensor->type != type || tensor->shape != expected.shape) {
    return fail(corrupt(
        path, fmt::format("tensor \"{}\": expected {} {}, found {} {}", expected.name,
                          type == TensorType::kI64 ? "I64" : "F32", shape_text(expected.shape),
                          tensor->type == TensorType::kI64 ? "I64" : "F32", shape_text(tensor->shape))));
  }
  return tensor;
}

Status expect_no_others(const SafetensorsFile& file, const std::string& path,
                        const std::vector<LayoutTensor>& layout) {
  if (file.tensors().size() == layout.size()) return {};  // all of the layout were found, names are unique
  for (const TensorInfo& tensor : file.tensors()) {
    const bool known = std::any_of(layout.begin(), layout.end(), [&](const LayoutTensor& expected) {
      return expected.name == tensor.name;
    });
    if (!known) return fail(corrupt(path, "tensor \"" + tensor.name + "\" is not of this network"));
  }
  return {};
}

Status read_tensors(const std::string& path, const std::vector<LayoutTensor>& layout, std::uint64_t step,
                    std::span<float> parameters, std::span<float> statistics) {
  auto file = SafetensorsFile::open(path);
  if (!file) return fail(file.error());
  for (const LayoutTensor& expected : layout) {
    auto tensor = expect_tensor(*file, path, expected);
    if (!tensor) return fail(tensor.error());
    if (expected.source == ValueSource::kBatchesTracked) {
      std::int64_t batches = 0;
      SENG_TRY(file->read(**tensor, std::span(&batches, 1)));
      if (batches != static_cast<std::int64_t>(step)) {
        return fail(corrupt(path, fmt::format("tensor \"{}\" is {}; the manifest's step is {}", expected.name,
                                              batches, step)));
      }
      continue;
    }
    const auto values = expected.source == ValueSource::kParameters ? parameters : statistics;
    SENG_TRY(file->read(**tensor, values.subspan(expected.offset, expected.count)));
  }
  return expect_no_others(*file, path, layout);
}

template <class T>
Status take_metadata(const SafetensorsFile& file, const std::string& path, const std::string& key, T* value) {
  const auto found = file.metadata().find(key);
  if (found == file.metadata().end()) return fail(corrupt(path, "__metadata__: \"" + key + "\" is missing"));
  const std::string& text = found->second;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), *value);
  if (error != std::errc() || rest != text.data() + text.size()) {
    return fail(corrupt(path, "__metadata__: \"" + key + "\": expected a number, found \"" + text + "\""));
  }
  return {};
}

Result<CurvatureValues> read_curvature(const SafetensorsFile& file, const std::string& path,
                                       const TensorInfo& tensor, std::span<const Block> blocks,
                                       std::uint64_t step) {
  CurvatureValues curvature;
  const auto named = [&](const Block& each) {
    curvature.waiting = curvature_tensor(each, true) == tensor.name;
    return curvature.waiting || curvature_tensor(each, false) == tensor.name;
  };
  const auto block = std::find_if(blocks.begin(), blocks.end(), named);
  if (block == blocks.end() || tensor.type == TensorType::kI64 || tensor.shape.size() != 1) {
    return fail(
        corrupt(path, "tensor \"" + tensor.name + "\" is not the curvature of a block of this network"));
  }
  curvature.block = static_cast<std::size_t>(block - blocks.begin());
  SENG_TRY(take_metadata(file, path, curvature_step_key(*block, curvature.waiting), &curvature.step));
  SENG_TRY(take_metadata(file, path, curvature_lambda_key(*block, curvature.waiting), &curvature.lambda));
  if (curvature.step > step || !std::isfinite(curvature.lambda) || curvature.lambda <= 0) {
    return fail(
        corrupt(path, fmt::format("tensor \"{}\": step {} with damping {}; expected at most step {} and a "
                                  "damping above 0",
                                  tensor.name, curvature.step, curvature.lambda, step)));
  }
  curvature.values.resize(tensor.count);
  if (tensor.type == TensorType::kF32) {
    SENG_TRY(file.read(tensor, curvature.values));
    return curvature;
  }
  curvature.stored = Precision::kBf16;
  std::vector<std::uint16_t> stored(tensor.count);
  SENG_TRY(file.read(tensor, stored));
  widen(stored.data(), curvature.values.data(), stored.size());
  return curvature;
}

Status read_curvature_file(const std::string& path, std::span<const Block> blocks,
                           CheckpointContent* content) {
  auto file = SafetensorsFile::open(path);
  if (!file) return fail(file.error());
  for (const TensorInfo& tensor : file->tensors()) {
    auto curvature = read_curvature(*file, path, tensor, blocks, content->manifest.step);
    if (!curvature) return fail(curvature.error());
    for (const CurvatureValues& other : content->curvature) {
      if (other.block == curvature->block && other.waiting == curvature->waiting) {
        return fail(
            corrupt(path, "tensor \"" + tensor.name + "\" is in another file of this checkpoint too"));
      }
    }
    content->curvature.push_back(std::move(*curvature));
  }
  return {};
}

}  // namespace

Result<Manifest> read_manifest(const std::string& directory) {
  const std::string path = join(directory, kManifestName);
  auto text = read_file(path, kManifestMaxBytes);
  if (!text) return fail(text.error());
  auto manifest = parse_manifest(*text, path);
  if (!manifest) return fail(manifest.error());
  for (const char* required : {kModelName, kOptimizerName}) {
    const bool listed = std::any_of(manifest->files.begin(), manifest->files.end(),
                                    [&](const ManifestFile& file) { return file.name == required; });
    if (!listed) return fail(corrupt(path, std::string("files: ") + required + " is missing"));
  }
  return manifest;
}

Result<CheckpointContent> read_checkpoint(const std::string& directory, std::span<const Block> blocks) {
  CheckpointContent content;
  auto manifest = read_manifest(directory);
  if (!manifest) return fail(manifest.error());
  content.manifest = std::move(*manifest);
  for (const ManifestFile& file : content.manifest.files) SENG_TRY(verify_file(directory, file));

  const FlatSizes sizes = flat_sizes(blocks);
  content.parameters.resize(sizes.parameters);
  content.statistics.resize(sizes.statistics);
  content.momentum.resize(sizes.parameters);
  const std::uint64_t step = content.manifest.step;
  SENG_TRY(read_tensors(join(directory, kModelName), model_layout(blocks), step, content.parameters,
                        content.statistics));
  SENG_TRY(
      read_tensors(join(directory, kOptimizerName), optimizer_layout(blocks), step, content.momentum, {}));
  const std::string weights = to_hex(weights_digest(blocks, content.parameters, content.statistics));
  if (weights != content.manifest.weights_sha256) {
    return fail(corrupt(join(directory, kManifestName),
                        fmt::format("weights_sha256: expected {} by the tensors, found {}", weights,
                                    content.manifest.weights_sha256)));
  }
  for (const ManifestFile& file : content.manifest.files) {
    if (is_curvature_file(file.name))
      SENG_TRY(read_curvature_file(join(directory, file.name), blocks, &content));
  }
  std::sort(content.curvature.begin(), content.curvature.end(),
            [](const CurvatureValues& a, const CurvatureValues& b) {
              return a.block != b.block ? a.block < b.block : a.waiting < b.waiting;
            });
  return content;
}

Result<std::vector<std::string>> list_checkpoints(const std::string& checkpoints_dir) {
  std::vector<std::pair<std::uint64_t, std::string>> found;
  std::error_code error;
  for (fs::directory_iterator at(checkpoints_dir, error), end; !error && at != end; at.increment(error)) {
    const auto entry = parse_entry_name(at->path().filename().string());
    if (!entry || entry->kind != EntryKind::kCheckpoint) continue;
    // One whose manifest cannot be looked at may be whole: whoever reads it says what is wrong.
    std::error_code unknown;
    const fs::file_status status = fs::status(at->path() / kManifestName, unknown);
    if (fs::is_regular_file(status) || status.type() == fs::file_type::none)
      found.emplace_back(entry->step, at->path().string());
  }
  const bool none = error == std::errc::no_such_file_or_directory || error == std::errc::not_a_directory;
  if (error && !none) return fail(ErrorCode::kIo, "cannot read " + checkpoints_dir + ": " + error.message());
  std::sort(found.rbegin(), found.rend());
  std::vector<std::string> paths;
  for (auto& [step, path] : found) paths.push_back(std::move(path));
  return paths;
}

}  // namespace seng
