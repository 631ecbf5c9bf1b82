#include "actors/data/image_cache.h"

#include <atomic>
#include <cstring>
#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/actors/data/scratch_directory.h"

namespace seng {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class ImageCacheTest : public ::testing::Test {
 protected:
  Result<std::unique_ptr<ImageCache>> make(int threads = 3) {
    return ImageCache::open_or_make(
        path_, shape_, fingerprint_,
        [&](std::uint64_t index, std::uint8_t* out) -> Status {
          ++made_;
          if (index == broken_) return fail(ErrorCode::kCorrupt, "picture 700");
          for (std::size_t i = 0; i < shape_.image_bytes(); ++i)
            out[i] = static_cast<std::uint8_t>(index * 13 + i);
          return {};
        },
        threads, [&](const std::string& text) { notes_.push_back(text); });
  }
  std::string refusal() const {
    const auto cache = ImageCache::open(path_, shape_, fingerprint_);
    return cache ? "accepted" : cache.error().message;
  }

  ScratchDirectory scratch_;
  std::string path_ = scratch_ / "deep/er/set.images";
  ImageCacheShape shape_{3, 4, 5, 1000};
  Digest fingerprint_ = sha256("source", 6);
  std::uint64_t broken_ = ~std::uint64_t{0};
  std::atomic<int> made_{0};
  std::vector<std::string> notes_;
};

TEST_F(ImageCacheTest, IsMadeOnceAndHoldsEveryImage) {
  for (int i = 0; i < 2; ++i) {
    const auto cache = make();
    ASSERT_TRUE(cache) << cache.error().message;
    for (const std::uint64_t index : {0, 255, 256, 700, 999})
      for (std::size_t j = 0; j < shape_.image_bytes(); ++j)
        ASSERT_EQ((*cache)->image(index)[j], static_cast<std::uint8_t>(index * 13 + j));
  }
  EXPECT_EQ(made_, 1000);
  EXPECT_FALSE(std::filesystem::exists(path_ + ".part"));
}

// The header as the page in image_cache.h lays it out.
TEST_F(ImageCacheTest, HasTheSpecifiedBytes) {
  ASSERT_TRUE(make());
  const std::string bytes = get_file(path_);
  ASSERT_EQ(bytes.size(), 128 + shape_.count * shape_.image_bytes());
  EXPECT_EQ(bytes.substr(0, 32),
            std::string("SENGIMGS\1\0\0\0\3\0\0\0\4\0\0\0\5\0\0\0\xe8\3\0\0\0\0\0\0", 32));
  EXPECT_EQ(std::memcmp(bytes.data() + 32, fingerprint_.data(), 32), 0);
  const Digest values = sha256(bytes.data() + 128, bytes.size() - 128), header = sha256(bytes.data(), 96);
  EXPECT_EQ(std::memcmp(bytes.data() + 64, values.data(), 32), 0);
  EXPECT_EQ(std::memcmp(bytes.data() + 96, header.data(), 32), 0);
}

TEST_F(ImageCacheTest, EveryDamageIsRefusedByNameAndMadeAnew) {
  ASSERT_TRUE(make());
  const std::string whole = get_file(path_);
  std::vector<std::string> damaged = {whole.substr(0, whole.size() - 1), whole + "x", whole.substr(0, 100),
                                      ""};
  for (const std::size_t at : {0, 8, 13, 20, 24, 40, 70, 100, 128, 5000}) {
    damaged.push_back(whole);
    damaged.back()[at] = static_cast<char>(damaged.back()[at] ^ 4);
  }
  for (const std::string& bytes : damaged) {
    put_file(path_, bytes);
    EXPECT_THAT(refusal(), AllOf(HasSubstr(path_), HasSubstr("expected")));
    notes_.clear();
    ASSERT_TRUE(make(1));
    EXPECT_THAT(notes_, ::testing::ElementsAre(HasSubstr("made anew")));
    EXPECT_EQ(get_file(path_), whole);
  }
  fingerprint_ = sha256("another", 7);
  EXPECT_THAT(refusal(), HasSubstr("fingerprint"));
}

TEST_F(ImageCacheTest, AFailureLeavesNothing) {
  broken_ = 700;
  const auto cache = make();
  ASSERT_FALSE(cache);
  EXPECT_EQ(cache.error().message, "picture 700");
  EXPECT_FALSE(std::filesystem::exists(path_));
  EXPECT_FALSE(std::filesystem::exists(path_ + ".part"));
}

}  // namespace
}  // namespace seng
