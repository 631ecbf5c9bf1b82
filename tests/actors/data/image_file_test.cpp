#include "actors/data/image_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/actors/data/scratch_directory.h"
#include "tests/support/pictures.h"

namespace seng {
namespace {

using ::testing::AllOf;
using testing::as_jpeg;
using testing::as_png;
using ::testing::HasSubstr;
using testing::make_picture;
using testing::Picture;

int whole(PixelSize) {
  return 1;
}

double mean_difference(const std::vector<std::uint8_t>& a, const std::vector<std::uint8_t>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += std::abs(int(a[i]) - int(b[i]));
  return sum / static_cast<double>(a.size());
}

class ImageFile : public ::testing::Test {
 protected:
  Result<FileImage> read(const std::string& bytes, int channels = 3) {
    put_file(path_, bytes);
    return read_image(path_, channels, whole);
  }
  std::string refusal(const std::string& bytes) {
    const auto image = read(bytes);
    if (image) return "accepted";
    EXPECT_EQ(image.error().code, ErrorCode::kCorrupt);
    return image.error().message;
  }
  ScratchDirectory scratch_;
  std::string path_ = scratch_ / "picture.of.anything";
  Picture picture_ = make_picture(3, 40, 56);
};

TEST_F(ImageFile, PngIsExactAndJpegIsNear) {
  const auto png = read(as_png(picture_));
  ASSERT_TRUE(png) << png.error().message;
  EXPECT_EQ(png->values, picture_.values);
  EXPECT_EQ(png->size.height, 40);
  EXPECT_EQ(png->size.width, 56);
  const auto jpeg = read(as_jpeg(picture_));
  ASSERT_TRUE(jpeg) << jpeg.error().message;
  EXPECT_EQ(jpeg->values.size(), picture_.values.size());
  EXPECT_LT(mean_difference(jpeg->values, picture_.values), 2);
}

TEST_F(ImageFile, GreyIsTheBrightness) {
  for (const std::string& bytes : {as_png(picture_), as_jpeg(picture_)}) {
    const auto grey = read(bytes, 1);
    ASSERT_TRUE(grey) << grey.error().message;
    ASSERT_EQ(grey->values.size(), 40u * 56);
    double sum = 0;
    for (std::size_t i = 0; i < grey->values.size(); ++i) {
      const std::uint8_t* rgb = picture_.values.data() + 3 * i;
      sum += std::abs(grey->values[i] - (0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2]));
    }
    EXPECT_LT(sum / static_cast<double>(grey->values.size()), 6);
  }
}

TEST_F(ImageFile, AJpegIsDecodedAtAFraction) {
  const std::string bytes = as_jpeg(picture_);
  for (const int reduction : {1, 2, 4, 8}) {
    PixelSize asked;
    const auto image = decode_jpeg(bytes, 3, [&](PixelSize full) { return asked = full, reduction; });
    ASSERT_TRUE(image);
    EXPECT_EQ(asked.height, 40);
    EXPECT_EQ(image->full.width, 56);
    EXPECT_EQ(image->size.height, 40 / reduction);
    EXPECT_EQ(image->size.width, 56 / reduction);
    const double mean = mean_difference(image->values, std::vector<std::uint8_t>(image->values.size()));
    EXPECT_NEAR(mean, mean_difference(picture_.values, std::vector<std::uint8_t>(picture_.values.size())), 3);
  }
}

TEST_F(ImageFile, RefusesWhatIsNoWholePictureByName) {
  const std::string jpeg = as_jpeg(picture_), png = as_png(picture_);
  for (const std::string& bytes : {jpeg, png}) {
    for (const double part : {0.1, 0.5, 0.9}) {
      const auto cut = bytes.substr(0, static_cast<std::size_t>(part * static_cast<double>(bytes.size())));
      EXPECT_THAT(refusal(cut), AllOf(HasSubstr(path_), HasSubstr("damaged"))) << part;
    }
  }
  std::string bad = png;
  bad[bad.size() / 2] = static_cast<char>(bad[bad.size() / 2] ^ 0x40);
  EXPECT_THAT(refusal(bad), AllOf(HasSubstr(path_), HasSubstr("damaged PNG")));
  EXPECT_THAT(refusal("GIF89a"), HasSubstr("neither JPEG nor PNG"));
  EXPECT_THAT(refusal(""), HasSubstr("an empty file"));
  EXPECT_EQ(read_image(scratch_ / "none.jpg", 3, whole).error().code, ErrorCode::kNotFound);
}

// Else it would depend on who reads which pictures whether a good one counts as broken.
TEST_F(ImageFile, ADamagedJpegLeavesNoTraceInTheNextOne) {
  const std::string jpeg = as_jpeg(picture_);
  const auto good = read(jpeg, 3);
  ASSERT_TRUE(good) << good.error().message;
  for (std::size_t bytes = 2; bytes < jpeg.size() * 9 / 10; bytes += 1 + jpeg.size() / 50) {
    ASSERT_FALSE(read(jpeg.substr(0, bytes), 3)) << bytes;
    const auto next = read(jpeg, 3);
    ASSERT_TRUE(next) << next.error().message << " after " << bytes << " bytes";
    EXPECT_EQ(next->values, good->values) << bytes;
  }
}

}  // namespace
}  // namespace seng
