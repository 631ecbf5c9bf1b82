#include "actors/checkpoint/safetensors.h"

#include <random>

#include "tests/actors/checkpoint/faulty_storage.h"
#include "tests/actors/data/scratch_directory.h"

namespace seng {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// A file by hand: the length, the header as it is given, the data.
std::string by_hand(const std::string& header, const std::string& data) {
  std::string bytes;
  for (int i = 0; i < 8; ++i) bytes += static_cast<char>(std::uint64_t{header.size()} >> (8 * i));
  return bytes + header + data;
}

const char* const kTwoTensors =
    R"({"__metadata__":{"format":"pt","a":"b"},"w":{"dtype":"F32","shape":[2,1],"data_offsets":[8,16]},)"
    R"("n":{"dtype":"I64","shape":[],"data_offsets":[0,8]}})";
const std::string kTwoTensorsData("\x07\0\0\0\0\0\0\0\0\0\x80\x3f\0\0\0\xc0", 16);  // 7; 1.0, -2.0

class SafetensorsTest : public ::testing::Test {
 protected:
  Result<SafetensorsFile> open(const std::string& bytes) {
    put_file(path_, bytes);
    return SafetensorsFile::open(path_);
  }
  void expect_corrupt(const std::string& bytes, const std::string& what) {
    const auto file = open(bytes);
    ASSERT_FALSE(file) << "accepted; expected: " << what;
    EXPECT_EQ(file.error().code, ErrorCode::kCorrupt);
    EXPECT_THAT(file.error().message, AllOf(HasSubstr(path_), HasSubstr(what)));
  }
  void expect_bad_header(const std::string& header, const std::string& what,
                         const std::string& data = std::string(16, 'd')) {
    SCOPED_TRACE(header);
    expect_corrupt(by_hand(header, data), what);
  }

  ScratchDirectory scratch_;
  std::string path_ = scratch_ / "file.safetensors";
};

TEST_F(SafetensorsTest, ReadsAFileWrittenByHand) {
  const auto file = open(by_hand(kTwoTensors, kTwoTensorsData));
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_EQ(file->metadata(), (Metadata{{"format", "pt"}, {"a", "b"}}));
  ASSERT_EQ(file->tensors().size(), 2u);
  EXPECT_EQ(file->tensors()[0].name, "n");
  EXPECT_TRUE(file->tensors()[0].shape.empty());
  EXPECT_THAT(file->tensors()[1].shape, ElementsAre(2, 1));
  std::int64_t number = 0;
  ASSERT_TRUE(file->read(*file->find("n"), std::span(&number, 1)));
  EXPECT_EQ(number, 7);
  std::vector<float> values(2);
  ASSERT_TRUE(file->read(*file->find("w"), std::span(values)));
  EXPECT_THAT(values, ElementsAre(1.0f, -2.0f));
  EXPECT_EQ(file->find("v"), nullptr);
}

// Values of 2 bytes lie behind wider ones, so that an odd count of them pushes nothing out of its alignment.
TEST_F(SafetensorsTest, HasNarrowTensors) {
  const std::uint16_t narrow[] = {0x3f80, 0xc000, 0x7fc0};
  const float wide = 0.5f;
  const std::vector<TensorView> tensors = {{"narrow", TensorType::kBf16, {3}, narrow},
                                           {"wide", TensorType::kF32, {1}, &wide}};
  ASSERT_TRUE(write_safetensors(posix_storage(), path_, tensors, {}));
  EXPECT_THAT(get_file(path_),
              AllOf(HasSubstr(R"("narrow":{"dtype":"BF16","shape":[3],"data_offsets":[4,10]})"),
                    HasSubstr(R"("wide":{"dtype":"F32","shape":[1],"data_offsets":[0,4]})")));
  const auto file = SafetensorsFile::open(path_);
  ASSERT_TRUE(file) << file.error().message;
  std::vector<std::uint16_t> got(3);
  ASSERT_TRUE(file->read(*file->find("narrow"), std::span(got)));
  EXPECT_THAT(got, ElementsAre(0x3f80, 0xc000, 0x7fc0));
  const std::string whole = get_file(path_);
  for (std::size_t size = 0; size < whole.size(); ++size)
    EXPECT_FALSE(open(whole.substr(0, size))) << "of " << size << " bytes";
  expect_bad_header(R"({"w":{"dtype":"BF16","shape":[4],"data_offsets":[0,16]}})", "8 bytes");
  expect_bad_header(R"({"w":{"dtype":"BF16","shape":[9],"data_offsets":[0,16]}})", "at most 8 values");
}

TEST_F(SafetensorsTest, WritesTheBytesThatTheFormatSays) {
  const float w[] = {1, -2};
  const std::int64_t n = 7;
  const std::vector<TensorView> tensors = {{"w", TensorType::kF32, {2, 1}, w},
                                           {"n", TensorType::kI64, {}, &n}};
  const auto written = write_safetensors(posix_storage(), path_, tensors, {{"format", "pt"}});
  ASSERT_TRUE(written) << written.error().message;
  const std::string header =
      R"({"__metadata__":{"format":"pt"},"n":{"dtype":"I64","shape":[],"data_offsets":[0,8]},)"
      R"("w":{"dtype":"F32","shape":[2,1],"data_offsets":[8,16]}})";
  const std::string padded = header + std::string((8 - header.size() % 8) % 8, ' ');
  const std::string expected = by_hand(padded, kTwoTensorsData);
  EXPECT_EQ(get_file(path_), expected);
  EXPECT_EQ(written->bytes, expected.size());
  EXPECT_EQ(written->digest, sha256(expected.data(), expected.size()));
}

TEST_F(SafetensorsTest, WhatIsWrittenIsRead) {
  std::mt19937 engine(std::random_device{}());
  for (int round = 0; round < 20; ++round) {
    std::vector<std::vector<float>> values(engine() % 20);
    std::vector<TensorView> tensors;
    for (std::size_t i = 0; i < values.size(); ++i) {
      const auto size = [&](int from, int choices) -> std::int64_t {
        return from + static_cast<int>(engine() % static_cast<unsigned>(choices));
      };
      const std::vector<std::int64_t> shape = {size(1, 4), size(0, 5), size(1, 3)};
      values[i].resize(shape[0] * shape[1] * shape[2]);
      for (float& value : values[i]) value = static_cast<float>(engine()) * 0x1p-20f;
      tensors.push_back({"t\"\n\xc3\xa9." + std::to_string(i), TensorType::kF32, shape, values[i].data()});
    }
    ASSERT_TRUE(write_safetensors(posix_storage(), path_, tensors, {}));
    const auto file = SafetensorsFile::open(path_);
    ASSERT_TRUE(file) << file.error().message;
    ASSERT_EQ(file->tensors().size(), tensors.size());
    for (std::size_t i = 0; i < values.size(); ++i) {
      const TensorInfo* tensor = file->find(tensors[i].name);
      ASSERT_NE(tensor, nullptr);
      EXPECT_EQ(tensor->shape, tensors[i].shape);
      EXPECT_EQ((file->tensors()[0].begin), 0u);
      std::vector<float> got(tensor->count);
      ASSERT_TRUE(file->read(*tensor, std::span(got)));
      EXPECT_EQ(got, values[i]);
    }
    EXPECT_EQ((get_file(path_).find('{')), 8u);
  }
}

TEST_F(SafetensorsTest, ATensorWithoutValuesKeepsItsShape) {
  const auto file = open(by_hand(R"({"w":{"dtype":"F32","shape":[2,0,3],"data_offsets":[0,0]}})", ""));
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_THAT(file->find("w")->shape, ElementsAre(2, 0, 3));
  EXPECT_EQ(file->find("w")->count, 0u);
}

TEST_F(SafetensorsTest, AFailedWriteLeavesNoFile) {
  const std::vector<float> values(100, 1.0f);
  const std::vector<TensorView> tensors = {{"w", TensorType::kF32, {100}, values.data()}};
  FaultyStorage counting;
  ASSERT_TRUE(write_safetensors(counting, path_, tensors, {}));
  std::filesystem::remove(path_);
  for (int i = 0; i < counting.operations; ++i) {
    FaultyStorage storage;
    storage.fail_at = i;
    const auto written = write_safetensors(storage, path_, tensors, {});
    ASSERT_FALSE(written);
    EXPECT_EQ(written.error().code, ErrorCode::kExhausted);
    EXPECT_FALSE(std::filesystem::exists(path_)) << i;
  }
}

TEST_F(SafetensorsTest, RefusesEveryTruncationAndAnyTrailingByte) {
  const std::string bytes = by_hand(kTwoTensors, kTwoTensorsData);
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    SCOPED_TRACE(size);
    expect_corrupt(bytes.substr(0, size), "");
  }
  expect_corrupt(bytes + "x", "tensors end at byte 16 of 17");
}

TEST_F(SafetensorsTest, RefusesHeaderLengthsThatTheFileCannotHold) {
  for (const char* length : {"\xff\xff\xff\xff\xff\xff\xff\xff", "\xff\xff\xff\xff\xff\xff\xff\x7f",
                             "\0\0\0\0\x01\0\0\0", "\x11\0\0\0\0\0\0\0"}) {
    expect_corrupt(std::string(length, 8) + std::string(16, ' '), "header length");
  }
  expect_corrupt("name: fashion-lenet\nmodel: lenet\n", "is not a safetensors file");
  // Longer than the limit although the file has the bytes (in a hole).
  put_file(path_, std::string("\x01\0\0\x01\0\0\0\0", 8));
  std::filesystem::resize_file(path_, 40'000'000);
  const auto file = SafetensorsFile::open(path_);
  ASSERT_FALSE(file);
  EXPECT_THAT(file.error().message, HasSubstr("at most 16777216, found 16777217"));
}

TEST_F(SafetensorsTest, RefusesWhatIsNoRegularFile) {
  const std::string directory = std::filesystem::path(path_).parent_path();
  ASSERT_EQ(mkfifo((path_ + ".pipe").c_str(), 0600), 0);
  for (const std::string& path : {directory, path_ + ".pipe"}) {
    const auto file = SafetensorsFile::open(path);
    ASSERT_FALSE(file);
    EXPECT_THAT(file.error().message, HasSubstr("is not a regular file"));
  }
}

TEST_F(SafetensorsTest, RefusesHeadersThatLie) {
  const auto tensor = [](const std::string& fields) { return "{\"w\":{" + fields + "}}"; };
  const std::string type = R"("dtype":"F32",)", shape = R"("shape":[4],)",
                    offsets = R"("data_offsets":[0,16])";
  ASSERT_TRUE(open(by_hand(tensor(type + shape + offsets), std::string(16, 'd'))));

  expect_bad_header("", "does not begin with {");
  expect_bad_header(" {}", "does not begin with {");
  expect_bad_header("[]", "does not begin with {");
  expect_bad_header("{", "not JSON");
  expect_bad_header("{}x", "not JSON");
  expect_bad_header("{\"\xff\":1}", "not JSON");
  expect_bad_header("{}", "tensors end at byte 0 of 16");
  expect_bad_header(R"({"w":[]})", "tensor \"w\": expected an object");
  expect_bad_header(R"({"__metadata__":1})", "__metadata__: expected an object");
  expect_bad_header(R"({"__metadata__":{"step":1}})", "__metadata__: \"step\": expected text");

  expect_bad_header(tensor(shape + offsets), "tensor \"w\": dtype is missing");
  expect_bad_header(tensor(type + offsets), "tensor \"w\": shape is missing");
  expect_bad_header(tensor(R"("dtype":"F32","shape":[4])"), "data_offsets is missing");
  expect_bad_header(tensor(type + shape + offsets + R"(,"stride":1)"), "unknown field \"stride\"");
  expect_bad_header(tensor(R"("dtype":"F16",)" + shape + offsets),
                    "dtype: expected F32, I64 or BF16, found \"F16\"");
  expect_bad_header(tensor(R"("dtype":32,)" + shape + offsets), "dtype: expected text");
  for (const char* bad : {"[-4]", "[4.0]", "[\"4\"]", "[null]"}) {
    expect_bad_header(tensor(type + "\"shape\":" + bad + "," + offsets), "shape: expected whole numbers");
  }
  expect_bad_header(tensor(type + R"("shape":4,)" + offsets), "shape: expected a list");
  expect_bad_header(tensor(type + R"("shape":[1,1,1,1,1,1,1,1,4],)" + offsets),
                    "shape: expected a list of at most 8");
  expect_bad_header(tensor(type + R"("shape":[3],)" + offsets), "expected 12 bytes");
  for (const char* huge :
       {"[5]", "[4294967296,4294967296]", "[9223372036854775807,2]", "[4294967296,4294967296,4]", "[2,3]"}) {
    expect_bad_header(tensor(type + "\"shape\":" + huge + "," + offsets), "shape: expected at most 4 values");
  }
  for (const char* huge : {"[18446744073709551615]", "[2,9223372036854775808]", "[0,18446744073709551615]"}) {
    expect_bad_header(tensor(type + "\"shape\":" + huge + "," + offsets),
                      "sizes of at most 9223372036854775807");
  }
  expect_bad_header(tensor(type + R"("shape":[9223372036854775807,0,9223372036854775807],)" + offsets),
                    "expected 0 bytes, which is what its shape needs, found 16");
  for (const char* range :
       {"[0,17]", "[16,0]", "[0,18446744073709551615]", "[18446744073709551600,18446744073709551615]"}) {
    expect_bad_header(tensor(type + shape + "\"data_offsets\":" + range),
                      "a range inside the file's 16 bytes");
  }
  for (const char* bad : {"[-16,0]", "[0]", "[0,16,16]", "{}", "[0.0,16.0]", "[0,1e1]"}) {
    expect_bad_header(tensor(type + shape + "\"data_offsets\":" + bad),
                      "data_offsets: expected two whole numbers");
  }
}

TEST_F(SafetensorsTest, RefusesOverlapsGapsAndRepeatedNames) {
  const auto pair = [](const std::string& one, const std::string& other, const std::string& name = "b") {
    return R"({"a":{"dtype":"F32","shape":[2],"data_offsets":)" + one + R"(},")" + name +
           R"(":{"dtype":"F32","shape":[2],"data_offsets":)" + other + "}}";
  };
  ASSERT_TRUE(open(by_hand(pair("[8,16]", "[0,8]"), std::string(16, 'd'))));
  expect_bad_header(pair("[0,8]", "[0,8]"), "begins at byte 0 of the data; expected 8", std::string(8, 'd'));
  expect_bad_header(pair("[0,8]", "[4,12]"), "tensor \"b\" begins at byte 4 of the data; expected 8",
                    std::string(12, 'd'));
  expect_bad_header(pair("[0,8]", "[12,20]"), "tensor \"b\" begins at byte 12 of the data; expected 8",
                    std::string(20, 'd'));
  expect_bad_header(pair("[4,12]", "[12,20]"), "begins at byte 4 of the data; expected 0",
                    std::string(20, 'd'));
  expect_bad_header(pair("[0,8]", "[8,16]", "a"), "key \"a\" appears twice");
  expect_bad_header(R"({"w":{"dtype":"F32","dtype":"F32","shape":[4],"data_offsets":[0,16]}})",
                    "key \"dtype\" appears twice");
  expect_bad_header(R"({"__metadata__":{"k":"1","k":"2"}})", "key \"k\" appears twice");
}

TEST_F(SafetensorsTest, DeepNestingIsAnError) {
  expect_bad_header("{\"w\":" + std::string(1'000'000, '[') + std::string(1'000'000, ']') + "}",
                    "expected an object");
}

// Whatever the bytes, the reader answers; what it accepts can be read.
TEST_F(SafetensorsTest, ChangedBytesNeverCrashIt) {
  std::mt19937 engine(std::random_device{}());
  const std::string bytes = by_hand(kTwoTensors, kTwoTensorsData);
  int accepted = 0;
  for (int round = 0; round < 20'000; ++round) {
    std::string changed = bytes;
    const int changes = 1 + static_cast<int>(engine() % 3);
    for (int i = 0; i < changes; ++i) {
      static const std::string kLikely = "{}[]\",:0123456789-e.\\ ";
      const bool likely = engine() % 2 == 0;
      changed[engine() % changed.size()] =
          likely ? kLikely[engine() % kLikely.size()] : static_cast<char>(engine());
    }
    const auto file = open(changed);
    if (!file) continue;
    ++accepted;
    for (const TensorInfo& tensor : file->tensors()) {
      ASSERT_LE(tensor.count, 4u);
      std::vector<float> floats(tensor.count);
      std::vector<std::int64_t> numbers(tensor.count);
      const bool is_float = tensor.type == TensorType::kF32;
      ASSERT_TRUE(is_float ? file->read(tensor, std::span(floats)) : file->read(tensor, std::span(numbers)));
    }
  }
  EXPECT_GT(accepted, 0) << "changes of the data alone are valid files";
}

}  // namespace
}  // namespace seng
