#include "actors/checkpoint/safetensors.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <limits>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "actors/checkpoint/strict_json.h"

namespace seng {

static_assert(std::endian::native == std::endian::little, "tensors are written as they lie in memory");

namespace {

constexpr std::size_t kLengthBytes = 8;
constexpr std::uint64_t kMaxDimension = std::numeric_limits<std::int64_t>::max();
constexpr const char* kMetadataKey = "__metadata__";

struct TypeName {
  TensorType type;
  const char* name;
  std::size_t bytes;
};
constexpr std::array<TypeName, 3> kTypes = {
    {{TensorType::kF32, "F32", 4}, {TensorType::kI64, "I64", 8}, {TensorType::kBf16, "BF16", 2}}};

const TypeName& type_entry(TensorType type) {
  return *std::find_if(kTypes.begin(), kTypes.end(),
                       [&](const TypeName& entry) { return entry.type == type; });
}

std::size_t count_of(const std::vector<std::int64_t>& shape) {
  std::size_t count = 1;
  for (const std::int64_t dimension : shape) count *= static_cast<std::size_t>(dimension);
  return count;
}

// The length and the JSON behind it, filled with spaces to a multiple of 8.
std::string make_header(const std::vector<TensorView>& tensors, const Metadata& metadata) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header[kMetadataKey] = metadata;
  std::uint64_t offset = 0;
  for (const TensorView& tensor : tensors) {
    SENG_CHECK(!header.contains(tensor.name), "each tensor's name appears once: " + tensor.name);
    const std::uint64_t end = offset + count_of(tensor.shape) * size_of(tensor.type);
    header[tensor.name] = {
        {"dtype", type_entry(tensor.type).name}, {"shape", tensor.shape}, {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text = header.dump();
  text.append((kLengthBytes - text.size() % kLengthBytes) % kLengthBytes, ' ');
  std::string bytes;
  for (std::size_t i = 0; i < kLengthBytes; ++i) bytes += static_cast<char>(text.size() >> (8 * i));
  return bytes + text;
}

// Appends and keeps the count and the hash of what went through.
class HashingWriter {
 public:
  explicit HashingWriter(OutputFile& file) : file_(file) {}
  // In pieces that are still in the cache when the second looks at them.
  Status append(const void* data, std::size_t size) {
    const auto* bytes = static_cast<const std::byte*>(data);
    for (std::size_t at = 0; at < size; at += kPieceBytes) {
      const std::size_t piece = std::min(kPieceBytes, size - at);
      hash_.update(bytes + at, piece);
      bytes_ += piece;
      SENG_TRY(file_.append(bytes + at, piece));
    }
    return {};
  }
  WrittenFile finish() { return {bytes_, hash_.finish()}; }

 private:
  static constexpr std::size_t kPieceBytes = std::size_t{1} << 20;
  OutputFile& file_;
  Sha256 hash_;
  std::uint64_t bytes_ = 0;
};

Result<WrittenFile> write_file(Storage& storage, const std::string& path, const std::string& header,
                               const std::vector<TensorView>& tensors) {
  auto file = storage.create(path);
  if (!file) return fail(file.error());
  HashingWriter writer(**file);
  SENG_TRY(writer.append(header.data(), header.size()));
  for (const TensorView& tensor : tensors) {
    const std::size_t bytes = count_of(tensor.shape) * size_of(tensor.type);
    SENG_CHECK(tensor.behind.size() <= bytes, "a tensor has the bytes of its shape");
    SENG_TRY(writer.append(tensor.data, bytes - tensor.behind.size()));
    SENG_TRY(writer.append(tensor.behind.data(), tensor.behind.size()));
  }
  SENG_TRY((*file)->sync());
  return writer.finish();
}

Result<TensorType> read_type(const JsonFields& fields) {
  auto name = fields.text("dtype");
  if (!name) return fail(name.error());
  for (const TypeName& entry : kTypes) {
    if (*name == entry.name) return entry.type;
  }
  return fail(fields.wrong("dtype", "F32, I64 or BF16, found " + in_quotes(*name)));
}

// The shape, and its product in *count, which is not above `limit`.
Result<std::vector<std::int64_t>> read_shape(const JsonFields& fields, std::uint64_t limit,
                                             std::size_t* count) {
  auto value = fields.field("shape");
  if (!value) return fail(value.error());
  if (!(*value)->is_array() || (*value)->size() > kSafetensorsMaxRank) {
    return fail(fields.wrong("shape", fmt::format("a list of at most {} sizes", kSafetensorsMaxRank)));
  }
  std::vector<std::int64_t> shape;
  std::uint64_t product = 1;
  bool empty = false, fits = true;
  for (const nlohmann::json& size : **value) {
    if (!size.is_number_unsigned()) return fail(fields.wrong("shape", "whole numbers from 0"));
    const auto dimension = size.get<std::uint64_t>();
    if (dimension > kMaxDimension) {
      return fail(fields.wrong("shape", fmt::format("sizes of at most {}", kMaxDimension)));
    }
    empty = empty || dimension == 0;
    fits = fits && (dimension == 0 || product <= limit / dimension);
    if (fits) product *= std::max<std::uint64_t>(dimension, 1);
    shape.push_back(static_cast<std::int64_t>(dimension));
  }
  if (!fits && !empty) {
    return fail(fields.wrong("shape", fmt::format("at most {} values, which is what the file holds", limit)));
  }
  *count = empty ? 0 : static_cast<std::size_t>(product);
  return shape;
}

Status read_offsets(const JsonFields& fields, std::uint64_t data_bytes, TensorInfo* tensor) {
  auto value = fields.field("data_offsets");
  if (!value) return fail(value.error());
  const nlohmann::json& offsets = **value;
  if (!offsets.is_array() || offsets.size() != 2 || !offsets[0].is_number_unsigned() ||
      !offsets[1].is_number_unsigned()) {
    return fail(fields.wrong("data_offsets", "two whole numbers from 0"));
  }
  tensor->begin = offsets[0].get<std::uint64_t>();
  tensor->end = offsets[1].get<std::uint64_t>();
  if (tensor->begin > tensor->end || tensor->end > data_bytes) {
    return fail(
        fields.wrong("data_offsets", fmt::format("a range inside the file's {} bytes of data, found {} to {}",
                                                 data_bytes, tensor->begin, tensor->end)));
  }
  const std::uint64_t expected = tensor->count * size_of(tensor->type);
  if (tensor->end - tensor->begin != expected) {
    return fail(fields.wrong("data_offsets", fmt::format("{} bytes, which is what its shape needs, found {}",
                                                         expected, tensor->end - tensor->begin)));
  }
  return {};
}

Result<TensorInfo> read_tensor(const std::string& name, const nlohmann::json& value, const std::string& path,
                               std::uint64_t data_bytes) {
  auto fields = JsonFields::open(value, path + ": tensor " + in_quotes(name));
  if (!fields) return fail(fields.error());
  SENG_TRY(fields->only({"dtype", "shape", "data_offsets"}));
  TensorInfo tensor;
  tensor.name = name;
  auto type = read_type(*fields);
  if (!type) return fail(type.error());
  tensor.type = *type;
  auto shape = read_shape(*fields, data_bytes / size_of(*type), &tensor.count);
  if (!shape) return fail(shape.error());
  tensor.shape = std::move(*shape);
  SENG_TRY(read_offsets(*fields, data_bytes, &tensor));
  return tensor;
}

Result<Metadata> read_metadata(const nlohmann::json& value, const std::string& path) {
  Metadata metadata;
  if (!value.is_object()) return fail(ErrorCode::kCorrupt, path + ": __metadata__: expected an object");
  for (const auto& [key, text] : value.items()) {
    if (!text.is_string()) {
      return fail(ErrorCode::kCorrupt, path + ": __metadata__: " + in_quotes(key) + ": expected text");
    }
    metadata[key] = text.get<std::string>();
  }
  return metadata;
}

}  // namespace

std::size_t size_of(TensorType type) {
  return type_entry(type).bytes;
}

const char* name_of(TensorType type) {
  return type_entry(type).name;
}

Result<WrittenFile> write_safetensors(Storage& storage, const std::string& path,
                                      std::span<const TensorView> tensors, const Metadata& metadata) {
  std::vector<TensorView> ordered(tensors.begin(), tensors.end());
  std::stable_sort(ordered.begin(), ordered.end(), [](const TensorView& a, const TensorView& b) {
    return size_of(a.type) > size_of(b.type);
  });
  const std::string header = make_header(ordered, metadata);
  SENG_CHECK(header.size() - kLengthBytes <= kSafetensorsMaxHeader,
             "the header is within what the reader takes");
  auto written = write_file(storage, path, header, ordered);
  if (!written) (void)storage.remove_file(path);
  return written;
}

Result<SafetensorsFile> SafetensorsFile::open(const std::string& path) {
  // Without O_NONBLOCK a FIFO's open would wait for a writer.
  SafetensorsFile file(UniqueFd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)), path);
  if (!file.fd_) return fail(errno_error("cannot open " + path));
  struct stat info {};
  if (::fstat(file.fd_.get(), &info) != 0) return fail(errno_error("cannot read " + path));
  const auto size = static_cast<std::uint64_t>(info.st_size);
  if (!S_ISREG(info.st_mode)) return fail(ErrorCode::kCorrupt, path + " is not a regular file");
  if (size < kLengthBytes) return fail(ErrorCode::kCorrupt, path + " is too short for a safetensors file");
  std::array<unsigned char, kLengthBytes> bytes{};
  SENG_TRY(file.read_bytes(0, bytes.data(), bytes.size()));
  std::uint64_t length = 0;
  for (std::size_t i = 0; i < kLengthBytes; ++i) length |= std::uint64_t{bytes[i]} << (8 * i);
  if (length > size - kLengthBytes)
    return fail(
        ErrorCode::kCorrupt,
        path + " is not a safetensors file, or is cut off: its header length is more than the file holds");
  if (length > kSafetensorsMaxHeader) {
    return fail(ErrorCode::kCorrupt, fmt::format("{}: header length: expected at most {}, found {}", path,
                                                 kSafetensorsMaxHeader, length));
  }
  std::string header(length, '\0');
  SENG_TRY(file.read_bytes(kLengthBytes, header.data(), header.size()));
  file.data_offset_ = kLengthBytes + length;
  SENG_TRY(file.parse_header(header, size - file.data_offset_));
  return file;
}

Status SafetensorsFile::parse_header(const std::string& header, std::uint64_t data_bytes) {
  if (!header.starts_with('{')) {
    return fail(ErrorCode::kCorrupt, path_ + ": not a safetensors file: its header does not begin with {");
  }
  auto parsed = parse_strict_json(header, path_ + ": header");
  if (!parsed) return fail(parsed.error());
  for (const auto& [name, value] : parsed->items()) {
    if (name == kMetadataKey) {
      auto metadata = read_metadata(value, path_);
      if (!metadata) return fail(metadata.error());
      metadata_ = std::move(*metadata);
      continue;
    }
    auto tensor = read_tensor(name, value, path_, data_bytes);
    if (!tensor) return fail(tensor.error());
    tensors_.push_back(std::move(*tensor));
  }
  std::sort(tensors_.begin(), tensors_.end(), [](const TensorInfo& a, const TensorInfo& b) {
    return a.begin != b.begin ? a.begin < b.begin : a.end < b.end;
  });
  return check_layout(data_bytes);
}

Status SafetensorsFile::check_layout(std::uint64_t data_bytes) const {
  std::uint64_t reached = 0;
  for (const TensorInfo& tensor : tensors_) {
    if (tensor.begin != reached) {
      return fail(
          ErrorCode::kCorrupt,
          fmt::format("{}: tensor {} begins at byte {} of the data; expected {}, where the one before ends",
                      path_, in_quotes(tensor.name), tensor.begin, reached));
    }
    reached = tensor.end;
  }
  if (reached != data_bytes) {
    return fail(ErrorCode::kCorrupt, fmt::format("{}: its tensors end at byte {} of {} bytes of data", path_,
                                                 reached, data_bytes));
  }
  return {};
}

const TensorInfo* SafetensorsFile::find(const std::string& name) const {
  const auto found = std::find_if(tensors_.begin(), tensors_.end(),
                                  [&](const TensorInfo& tensor) { return tensor.name == name; });
  return found == tensors_.end() ? nullptr : &*found;
}

Status SafetensorsFile::read(const TensorInfo& tensor, std::span<float> out) const {
  SENG_CHECK(tensor.type == TensorType::kF32 && out.size() == tensor.count, tensor.name);
  return read_bytes(data_offset_ + tensor.begin, out.data(), out.size_bytes());
}

Status SafetensorsFile::read(const TensorInfo& tensor, std::span<std::int64_t> out) const {
  SENG_CHECK(tensor.type == TensorType::kI64 && out.size() == tensor.count, tensor.name);
  return read_bytes(data_offset_ + tensor.begin, out.data(), out.size_bytes());
}

Status SafetensorsFile::read(const TensorInfo& tensor, std::span<std::uint16_t> out) const {
  SENG_CHECK(tensor.type == TensorType::kBf16 && out.size() == tensor.count, tensor.name);
  return read_bytes(data_offset_ + tensor.begin, out.data(), out.size_bytes());
}

Status SafetensorsFile::read_bytes(std::uint64_t offset, void* out, std::size_t size) const {
  auto* to = static_cast<char*>(out);
  while (size > 0) {
    const ssize_t got = ::pread(fd_.get(), to, size, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail(errno_error("cannot read " + path_));
    if (got == 0) return fail(ErrorCode::kCorrupt, path_ + ": became shorter while it was read");
    to += got;
    offset += static_cast<std::uint64_t>(got);
    size -= static_cast<std::size_t>(got);
  }
  return {};
}

}  // namespace seng
