#include "actors/data/idx.h"

#include <random>

#include "tests/actors/data/idx_bytes.h"
#include "tests/actors/data/scratch_directory.h"

namespace seng {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

std::string random_bytes(std::size_t size, unsigned seed) {
  std::mt19937 engine(seed);
  std::string bytes(size, '\0');
  for (char& byte : bytes) byte = static_cast<char>(engine());
  return bytes;
}

class IdxTest : public ::testing::Test {
 protected:
  Result<IdxArray> read(const std::string& bytes, std::size_t rank = 3) {
    put_file(path_, bytes);
    return read_idx(path_, rank);
  }
  // The reader must refuse with kCorrupt, name the file and say `what`.
  void expect_corrupt(const std::string& bytes, const std::string& what, std::size_t rank = 3) {
    const auto result = read(bytes, rank);
    ASSERT_FALSE(result) << "accepted; expected: " << what;
    EXPECT_EQ(result.error().code, ErrorCode::kCorrupt) << result.error().message;
    EXPECT_THAT(result.error().message, AllOf(HasSubstr(path_), HasSubstr(what)));
  }

  ScratchDirectory scratch_;
  std::string path_ = scratch_ / "images";
};

TEST_F(IdxTest, ReadsPlainAndCompressedAlike) {
  const std::string values = random_bytes(5 * 4 * 3, std::random_device{}());
  const std::string bytes = idx_bytes({5, 4, 3}, values);
  for (const std::string& file : {bytes, gzip(bytes)}) {
    const auto array = read(file);
    ASSERT_TRUE(array) << array.error().message;
    EXPECT_EQ(array->dimensions, (std::vector<std::uint32_t>{5, 4, 3}));
    EXPECT_EQ(std::string(array->values.begin(), array->values.end()), values);
  }
}

TEST_F(IdxTest, ReadsFilesLargerThanItsBuffers) {
  std::string values = random_bytes(300'000, 1) + std::string(700'000, 'x');
  const std::string bytes = idx_bytes({1000, 100, 10}, values);
  for (const std::string& file : {bytes, gzip(bytes)}) {
    const auto array = read(file);
    ASSERT_TRUE(array) << array.error().message;
    EXPECT_TRUE(std::equal(values.begin(), values.end(), reinterpret_cast<const char*>(array->values.data()),
                           reinterpret_cast<const char*>(array->values.data() + array->values.size())));
  }
}

TEST_F(IdxTest, RefusesEveryTruncationOfAPlainFile) {
  const std::string bytes = idx_bytes({2, 3, 2}, random_bytes(12, 2));
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    SCOPED_TRACE(size);
    expect_corrupt(bytes.substr(0, size), "truncated");
  }
}

TEST_F(IdxTest, RefusesEveryTruncationOfACompressedFile) {
  const std::string bytes = gzip(idx_bytes({2, 3, 2}, random_bytes(12, 3)));
  for (std::size_t size = 2; size < bytes.size(); ++size) {
    SCOPED_TRACE(size);
    expect_corrupt(bytes.substr(0, size), "truncated");
  }
}

TEST_F(IdxTest, RefusesEveryChangedByteOfACompressedPayload) {
  const std::string values = random_bytes(40, 4);
  const std::string bytes = gzip(idx_bytes({2, 5, 4}, values));
  // Bytes 4 to 9 of a gzip header (time, level, system) carry no data and no checksum covers them.
  for (std::size_t i = 10; i < bytes.size(); ++i) {
    SCOPED_TRACE(i);
    std::string changed = bytes;
    changed[i] = static_cast<char>(changed[i] ^ 0x41);
    expect_corrupt(changed, "");
  }
}

TEST_F(IdxTest, RefusesTrailingBytes) {
  const std::string bytes = idx_bytes({1, 2, 2}, "abcd");
  expect_corrupt(bytes + "x", "bytes follow");
  expect_corrupt(gzip(bytes + "x"), "bytes follow the values");
  expect_corrupt(gzip(bytes) + "x", "bytes follow the end of the compressed data");
  expect_corrupt(gzip(bytes) + gzip(bytes), "bytes follow the end of the compressed data");
}

TEST_F(IdxTest, RefusesWrongMagicTypeAndRank) {
  std::string bytes = idx_bytes({1, 1, 1}, "a");
  std::string changed = bytes;
  changed[0] = 1;
  expect_corrupt(changed, "expected two zero bytes at its beginning, found 1 and 0");
  changed = bytes;
  changed[2] = 0x0d;
  expect_corrupt(changed, "expected IDX type 8 (unsigned byte), found 13");
  expect_corrupt(bytes, "expected 1 dimensions (labels), found 3", 1);
  expect_corrupt("<html>404 not found</html>", "not an IDX file");
}

TEST_F(IdxTest, RefusesLyingDimensionsWithoutAllocating) {
  const std::uint32_t most = 0xffffffff;
  expect_corrupt(idx_bytes({most, most, most}, "abcd"), "more than");
  expect_corrupt(idx_bytes({1u << 30, 1, 1}, "abcd"),
                 "announces 1073741824 values, the file can hold at most 20");
  expect_corrupt(gzip(idx_bytes({1u << 30, 1, 1}, "abcd")), "announces 1073741824 values");
  expect_corrupt(idx_bytes({0, 4, 4}, ""), "a dimension of zero");
  expect_corrupt(idx_bytes({5}, "abcd"), "truncated: expected 5 values, found 4", 1);
}

TEST_F(IdxTest, NamesAFileThatCannotBeRead) {
  const auto absent = read_idx(scratch_ / "absent", 3);
  ASSERT_FALSE(absent);
  EXPECT_EQ(absent.error().code, ErrorCode::kNotFound);
  EXPECT_THAT(absent.error().message, HasSubstr("absent"));
  const auto directory = read_idx(scratch_.path(), 3);
  ASSERT_FALSE(directory);
  EXPECT_THAT(directory.error().message, HasSubstr("not a regular file"));
  ASSERT_EQ(mkfifo((scratch_ / "pipe").c_str(), 0600), 0);  // nobody will ever write to it
  const auto pipe = read_idx(scratch_ / "pipe", 3);
  ASSERT_FALSE(pipe);
  EXPECT_THAT(pipe.error().message, HasSubstr("not a regular file"));
}

}  // namespace
}  // namespace seng
