#include "actors/data/idx.h"

#include <algorithm>
#include <array>
#include <cerrno>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "protocol/base/unique_fd.h"

namespace seng {
namespace {

constexpr std::size_t kIdxReadBytes = 256 * 1024;
constexpr std::uint64_t kDeflateMaxRatio = 1032;  // zlib's documented limit of expansion
constexpr int kGzipWindow = 15 + 16;              // inflateInit2's way of asking for gzip framing

Error corrupt(const std::string& path, const std::string& what) {
  return {ErrorCode::kCorrupt, path + ": " + what};
}

// The bytes of a file, decompressed if it begins as gzip does.
class ByteSource {
 public:
  ByteSource() = default;
  ByteSource(const ByteSource&) = delete;
  ByteSource& operator=(const ByteSource&) = delete;
  ~ByteSource() {
    if (inflating_) inflateEnd(&stream_);
  }

  Status open(const std::string& path);
  // Fills `out` as far as the data reach; fewer bytes than asked for means the end.
  Result<std::size_t> read(std::uint8_t* out, std::size_t size);
  // An upper bound of the bytes that read() can give in all.
  std::uint64_t bound() const { return inflating_ ? file_size_ * kDeflateMaxRatio : file_size_; }
  // After the last wanted byte: nothing may follow.
  Status expect_end();

 private:
  Status fill();  // at least one more raw byte, or end_of_file_
  Status inflate_some(std::uint8_t* out, std::size_t size, std::size_t& produced);

  std::string path_;
  UniqueFd fd_;
  std::uint64_t file_size_ = 0;
  std::vector<std::uint8_t> raw_ = std::vector<std::uint8_t>(kIdxReadBytes);
  std::size_t begin_ = 0, end_ = 0;
  bool end_of_file_ = false, inflating_ = false, stream_ended_ = false;
  z_stream stream_{};
};

Status ByteSource::open(const std::string& path) {
  path_ = path;
  fd_.reset(
      ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));  // a FIFO's open would wait for a writer
  if (!fd_) return fail(errno_error("cannot open " + path));
  struct stat info {};
  if (::fstat(fd_.get(), &info) != 0) return fail(errno_error("cannot read " + path));
  if (!S_ISREG(info.st_mode)) return fail(ErrorCode::kInvalidArgument, path + " is not a regular file");
  file_size_ = static_cast<std::uint64_t>(info.st_size);
  SENG_TRY(fill());
  if (end_ >= 2 && raw_[0] == 0x1f && raw_[1] == 0x8b) {
    if (inflateInit2(&stream_, kGzipWindow) != Z_OK) {
      return fail(ErrorCode::kExhausted, path + ": no memory to decompress it");
    }
    inflating_ = true;
  }
  return {};
}

Status ByteSource::fill() {
  if (begin_ < end_ || end_of_file_) return {};
  ssize_t got;
  do {
    got = ::read(fd_.get(), raw_.data(), raw_.size());
  } while (got < 0 && errno == EINTR);
  if (got < 0) return fail(errno_error("cannot read " + path_));
  begin_ = 0;
  end_ = static_cast<std::size_t>(got);
  end_of_file_ = got == 0;
  return {};
}

Status ByteSource::inflate_some(std::uint8_t* out, std::size_t size, std::size_t& produced) {
  produced = 0;
  SENG_TRY(fill());
  if (begin_ == end_) {
    return fail(corrupt(path_, "truncated: the compressed data end in the middle"));
  }
  const std::size_t room = std::min(size, kIdxReadBytes);
  stream_.next_in = raw_.data() + begin_;
  stream_.avail_in = static_cast<uInt>(end_ - begin_);
  stream_.next_out = out;
  stream_.avail_out = static_cast<uInt>(room);
  const int status = inflate(&stream_, Z_NO_FLUSH);
  begin_ = end_ - stream_.avail_in;
  produced = room - stream_.avail_out;
  if (status == Z_STREAM_END) {
    stream_ended_ = true;
  } else if (status != Z_OK && status != Z_BUF_ERROR) {
    return fail(corrupt(path_, std::string("the compressed data are damaged (zlib: ") +
                                   (stream_.msg ? stream_.msg : "no text") + ")"));
  }
  return {};
}

Result<std::size_t> ByteSource::read(std::uint8_t* out, std::size_t size) {
  std::size_t done = 0;
  while (done < size) {
    std::size_t part = 0;
    if (inflating_) {
      if (stream_ended_) break;
      SENG_TRY(inflate_some(out + done, size - done, part));
    } else {
      SENG_TRY(fill());
      if (begin_ == end_) break;
      part = std::min(size - done, end_ - begin_);
      std::copy_n(raw_.data() + begin_, part, out + done);
      begin_ += part;
    }
    done += part;
  }
  return done;
}

Status ByteSource::expect_end() {
  std::uint8_t extra;
  auto more = read(&extra, 1);
  if (!more) return fail(more.error());
  SENG_TRY(fill());
  if (*more != 0) {
    return fail(
        corrupt(path_, "bytes follow the values that its header announces; the file is not what it says"));
  }
  if (begin_ < end_) return fail(corrupt(path_, "bytes follow the end of the compressed data"));
  return {};
}

std::uint32_t big_endian(const std::uint8_t* bytes) {
  return std::uint32_t{bytes[0]} << 24 | std::uint32_t{bytes[1]} << 16 | std::uint32_t{bytes[2]} << 8 |
         bytes[3];
}

Status check_magic(const std::string& path, const std::array<std::uint8_t, 4>& magic, std::size_t rank) {
  if (magic[0] != 0 || magic[1] != 0) {
    return fail(corrupt(path, "not an IDX file: expected two zero bytes at its beginning, found " +
                                  std::to_string(magic[0]) + " and " + std::to_string(magic[1])));
  }
  if (magic[2] != kIdxTypeUnsignedByte) {
    return fail(corrupt(path, "expected IDX type 8 (unsigned byte), found " + std::to_string(magic[2])));
  }
  if (magic[3] != rank) {
    return fail(corrupt(path, "expected " + std::to_string(rank) + " dimensions (" +
                                  (rank == 1 ? "labels" : "images") + "), found " +
                                  std::to_string(magic[3])));
  }
  return {};
}

// The product of the dimensions, or an error if it cannot be what follows.
Result<std::size_t> value_count(const std::string& path, const std::vector<std::uint32_t>& dimensions,
                                std::uint64_t bound) {
  std::uint64_t count = 1;
  for (const std::uint32_t dimension : dimensions) {
    if (dimension == 0) return fail(corrupt(path, "its header announces a dimension of zero"));
    if (count > kIdxMaxValues / dimension) {
      return fail(
          corrupt(path, "its header announces more than " + std::to_string(kIdxMaxValues) + " values"));
    }
    count *= dimension;
  }
  if (count > bound) {
    return fail(corrupt(path, "truncated: its header announces " + std::to_string(count) +
                                  " values, the file can hold at most " + std::to_string(bound)));
  }
  return static_cast<std::size_t>(count);
}

}  // namespace

Result<IdxArray> read_idx(const std::string& path, std::size_t rank) {
  ByteSource source;
  SENG_TRY(source.open(path));
  const auto header = [&](std::uint8_t* out, std::size_t size) -> Status {
    auto got = source.read(out, size);
    if (!got) return fail(got.error());
    if (*got < size) return fail(corrupt(path, "truncated: it ends inside the header of an IDX file"));
    return {};
  };
  std::array<std::uint8_t, 4> magic{};
  SENG_TRY(header(magic.data(), magic.size()));
  SENG_TRY(check_magic(path, magic, rank));
  IdxArray array;
  for (std::size_t i = 0; i < rank; ++i) {
    std::array<std::uint8_t, 4> word{};
    SENG_TRY(header(word.data(), word.size()));
    array.dimensions.push_back(big_endian(word.data()));
  }
  auto count = value_count(path, array.dimensions, source.bound());
  if (!count) return fail(count.error());
  array.values.resize(*count);
  auto got = source.read(array.values.data(), *count);
  if (!got) return fail(got.error());
  if (*got < *count) {
    return fail(corrupt(
        path, "truncated: expected " + std::to_string(*count) + " values, found " + std::to_string(*got)));
  }
  SENG_TRY(source.expect_end());
  return array;
}

}  // namespace seng
