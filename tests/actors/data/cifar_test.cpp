#include "actors/data/cifar.h"

#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "protocol/base/text.h"
#include "tests/actors/data/scratch_directory.h"

namespace seng {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr std::size_t kImage = 3072;

// The published sets in small: a few records a file.
CifarFamily small(CifarFamily family) {
  family.records = 3;
  family.train_records = family.label_bytes == 2 ? 15 : 3;
  return family;
}

// Record i of a file: label bytes, then values that tell where they stand.
std::string records(const CifarFamily& family, int first, std::size_t count) {
  std::string bytes;
  for (std::size_t i = 0; i < count; ++i) {
    const int number = first + static_cast<int>(i);
    if (family.label_bytes == 2) bytes += static_cast<char>((number + 7) % 20);
    bytes += static_cast<char>(number % family.classes);
    for (std::size_t j = 0; j < kImage; ++j) bytes += static_cast<char>((number * 7 + j * 31 / 29) & 0xff);
  }
  return bytes;
}

class CifarTest : public ::testing::TestWithParam<bool> {
 protected:
  CifarTest() : family_(small(GetParam() ? cifar100_family() : cifar10_family())) {
    std::filesystem::create_directories(directory());
    int first = 0;
    for (const auto& file : family_.train_files) {
      put_file(directory() + "/" + file, records(family_, first, family_.train_records));
      first += static_cast<int>(family_.train_records);
    }
    put_file(directory() + "/" + family_.test_files[0], records(family_, 90, family_.records));
  }
  std::string directory() const { return scratch_ / family_.published_folder; }
  Result<DataSplits> open(const CifarLimits& limits = {}) const {
    return open_cifar(family_, scratch_.path(), {}, limits);
  }
  std::string refusal(ErrorCode code) const {
    const auto splits = open();
    if (splits) return "accepted";
    EXPECT_EQ(splits.error().code, code);
    return splits.error().message;
  }

  ScratchDirectory scratch_;
  CifarFamily family_;
};

TEST_P(CifarTest, ReadsEveryRecordInOrder) {
  const auto splits = open();
  ASSERT_TRUE(splits) << splits.error().message;
  EXPECT_EQ(splits->train->size(), 15u);
  EXPECT_EQ(splits->test->size(), 3u);
  EXPECT_EQ(splits->train->classes(), family_.classes);
  for (std::uint32_t i : {0u, 4u, 14u}) {
    std::vector<float> image(kImage);
    std::int32_t label = 0;
    ASSERT_TRUE(splits->train->read({&i, 1}, image.data(), &label));
    EXPECT_EQ(label, static_cast<int>(i) % family_.classes) << "the fine label";
    for (std::size_t j = 0; j < kImage; ++j) {
      const ChannelScale& scale = family_.scales[j / 1024];
      const double byte = (i * 7 + j * 31 / 29) & 0xff;
      ASSERT_NEAR(image[j], (byte / 255 - scale.mean) / scale.deviation, 1e-5) << i << " " << j;
    }
  }
  EXPECT_EQ(open(CifarLimits{5, 2})->train->size(), 5u);
  EXPECT_FALSE(open(CifarLimits{16, 0}));
}

TEST_P(CifarTest, RefusesDamagedFilesByName) {
  const std::string path = directory() + "/" + family_.train_files.back(), whole = get_file(path);
  const std::size_t record = family_.label_bytes + kImage;
  for (const std::string& bytes : {whole.substr(0, whole.size() - 1), whole + "x",
                                   whole.substr(0, whole.size() - record), std::string()}) {
    put_file(path, bytes);
    EXPECT_THAT(refusal(ErrorCode::kCorrupt),
                AllOf(HasSubstr(path), HasSubstr(std::to_string(whole.size()))));
  }
  std::string bad = whole;
  bad[record + family_.label_bytes - 1] = static_cast<char>(family_.classes);
  put_file(path, bad);
  EXPECT_THAT(refusal(ErrorCode::kCorrupt), AllOf(HasSubstr(path), HasSubstr("of record 1")));
  std::filesystem::remove(path);
  EXPECT_THAT(refusal(ErrorCode::kNotFound),
              AllOf(HasSubstr("incomplete"), HasSubstr(family_.train_files.back())));
  std::filesystem::remove_all(directory());
  EXPECT_THAT(refusal(ErrorCode::kNotFound), AllOf(HasSubstr(family_.archive), HasSubstr(directory())));
  EXPECT_EQ(split_errors(refusal(ErrorCode::kNotFound)).size(), 1u) << "its further lines are indented";
}

INSTANTIATE_TEST_SUITE_P(Sets, CifarTest, ::testing::Bool(),
                         [](const auto& info) { return info.param ? "Cifar100" : "Cifar10"; });

TEST(CifarFamilies, AreAsPublished) {
  EXPECT_EQ(cifar10_family().train_files.size() * cifar10_family().train_records, 50'000u);
  EXPECT_EQ(cifar100_family().train_files.size() * cifar100_family().train_records, 50'000u);
  EXPECT_EQ(cifar10_family().test_files, std::vector<std::string>{"test_batch.bin"});
}

}  // namespace
}  // namespace seng
