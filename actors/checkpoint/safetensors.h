// Safetensors files (https://github.com/huggingface/safetensors, format section), the part of the format that
// checkpoints use: F32, I64 and BF16 tensors. README.md of this folder repeats the layout.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "actors/checkpoint/storage.h"
#include "protocol/base/error.h"
#include "protocol/base/sha256.h"
#include "protocol/base/unique_fd.h"

namespace seng {

inline constexpr std::size_t kSafetensorsMaxHeader = std::size_t{16}
                                                     << 20;  // the format itself allows 100 MB
inline constexpr std::size_t kSafetensorsMaxRank = 8;

enum class TensorType { kF32, kI64, kBf16 };
std::size_t size_of(TensorType type);
const char* name_of(TensorType type);  // as the format has it: "F32"

using Metadata = std::map<std::string, std::string>;

// ---- writing ----
// Borrowed: data must stay until the file is written.
struct TensorView {
  std::string name;
  TensorType type = TensorType::kF32;
  std::vector<std::int64_t> shape;  // its product is the number of values at data
  const void* data = nullptr;
  std::span<const std::byte> behind = {};  // the last of the values, where they do not lie together
};
struct WrittenFile {
  std::uint64_t bytes = 0;
  Digest digest{};
};
// Writes and syncs. Tensors of wider values are put first, so that all are aligned; otherwise the order is
// the given one. After an error the file is removed.
Result<WrittenFile> write_safetensors(Storage& storage, const std::string& path,
                                      std::span<const TensorView> tensors, const Metadata& metadata);

// ---- reading ----
struct TensorInfo {
  std::string name;
  TensorType type = TensorType::kF32;
  std::vector<std::int64_t> shape;
  std::uint64_t begin = 0, end = 0;  // bytes behind the header
  std::size_t count = 0;             // values
};

class SafetensorsFile {
 public:
  // Reads and checks the header; the tensors' bytes are read when they are asked for. kCorrupt, with the file
  // and the tensor: any length that the file cannot hold, a header that is not the format's, an unknown type,
  // an unknown or missing field, a name twice, a shape that does not give the bytes of its offsets, tensors
  // that overlap or leave bytes unused.
  static Result<SafetensorsFile> open(const std::string& path);

  const std::vector<TensorInfo>& tensors() const { return tensors_; }  // in the order of their bytes
  const Metadata& metadata() const { return metadata_; }
  const TensorInfo* find(const std::string& name) const;
  // `tensor` is one of this file's; out has tensor.count values of its type.
  Status read(const TensorInfo& tensor, std::span<float> out) const;
  Status read(const TensorInfo& tensor, std::span<std::int64_t> out) const;
  Status read(const TensorInfo& tensor, std::span<std::uint16_t> out) const;  // kBf16: the bits

 private:
  SafetensorsFile(UniqueFd fd, std::string path) : fd_(std::move(fd)), path_(std::move(path)) {}
  Status parse_header(const std::string& header, std::uint64_t data_bytes);
  Status check_layout(std::uint64_t data_bytes) const;
  Status read_bytes(std::uint64_t offset, void* out, std::size_t size) const;

  UniqueFd fd_;
  std::string path_;
  std::uint64_t data_offset_ = 0;
  std::vector<TensorInfo> tensors_;
  Metadata metadata_;
};

}  // namespace seng
