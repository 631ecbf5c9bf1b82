#include "actors/data/image_folder.h"

#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "actors/data/image_file.h"
#include "tests/actors/data/scratch_directory.h"
#include "tests/support/pictures.h"

namespace seng {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;

class ImageFolderTest : public ::testing::Test {
 protected:
  ImageFolderTest() {
    testing::write_image_folder(root_, "val", {"zebra", "ant", "cat 2"}, 3, 12, 16);
    options_.size = 8;
    options_.scales = {{.5, .25}, {.4, .2}, {.3, .5}};
  }
  DataSplits open() const {
    auto splits = open_image_folder(root_, options_);
    EXPECT_TRUE(splits) << splits.error().message;
    return std::move(*splits);
  }
  static std::vector<float> read(const Dataset& data, std::uint32_t index, std::int32_t* label = nullptr) {
    std::vector<float> image(data.channels() * data.height() * data.width());
    std::int32_t found = -1;
    const auto status = data.read({&index, 1}, image.data(), label ? label : &found);
    EXPECT_TRUE(status) << status.error().message;
    return image;
  }
  std::string read_error(const Dataset& data, std::uint32_t index) const {
    std::vector<float> image(3 * 8 * 8);
    std::int32_t label = 0;
    const auto status = data.read({&index, 1}, image.data(), &label);
    return status ? "read" : status.error().message;
  }
  std::string refusal() const {
    const auto splits = open_image_folder(root_, options_);
    return splits ? "accepted" : splits.error().message;
  }

  ScratchDirectory scratch_;
  std::string root_ = scratch_ / "set";
  ImageFolderOptions options_;
};

TEST_F(ImageFolderTest, ClassesAndPicturesAreInTheOrderOfTheirNames) {
  put_file(root_ + "/train/ant/notes.txt", "no picture");
  put_file(root_ + "/train/ant/.hidden.jpg", "no picture");
  const DataSplits splits = open();
  EXPECT_EQ(splits.train->size(), 9u);
  EXPECT_EQ(splits.test->size(), 9u);
  EXPECT_EQ(splits.train->classes(), 3);
  for (std::uint32_t i = 0; i < 9; ++i) {
    std::int32_t label = -1;
    read(*splits.train, i, &label);
    EXPECT_EQ(label, static_cast<int>(i) / 3);
  }
}

// The middle 12 x 12 of the picture, brought to 8 x 8 by hand: each output takes 1.5 pixels with triangles of
// 3 pixels in all, here checked by the mean and at one place.
TEST_F(ImageFolderTest, TheMiddleIsCutOutAndNormalised) {
  options_.size = 12;
  const DataSplits splits = open();
  const auto image = read(*splits.train, 5);  // cat 2: picture 8 of the writer, which numbers "zebra" from 0
  const auto file = read_image(root_ + "/train/cat 2/12.jpg", 3, [](PixelSize) { return 1; });
  ASSERT_TRUE(file) << file.error().message;
  for (int c = 0; c < 3; ++c)
    for (int y = 0; y < 12; ++y)
      for (int x = 0; x < 12; ++x) {
        const double byte = file->values[(y * 16 + x + 2) * 3 + c];
        const ChannelScale& scale = options_.scales[c];
        ASSERT_NEAR(image[(c * 12 + y) * 12 + x], (byte / 255 - scale.mean) / scale.deviation, 1e-5);
      }
}

TEST_F(ImageFolderTest, APartComesFromThePicturesOwnPixels) {
  const DataSplits splits = open();
  std::vector<float> part(3 * 8 * 8);
  std::int32_t label = -1;
  PixelSize source;
  const auto status = splits.train->read_part(
      5,
      [&](PixelSize size) {
        return source = size, PixelBox{3, 4, 8, 8};
      },
      part.data(), &label);
  ASSERT_TRUE(status) << status.error().message;
  EXPECT_EQ(source.height, 12);
  EXPECT_EQ(source.width, 16);
  const auto file = read_image(root_ + "/train/cat 2/12.jpg", 3, [](PixelSize) { return 1; });
  const double byte = file->values[((3 + 2) * 16 + 4 + 7) * 3 + 1];
  EXPECT_NEAR(part[64 + 2 * 8 + 7], (byte / 255 - .4) / .2, 1e-4);
}

// What cannot be read as a picture in any run is known before the first.
TEST_F(ImageFolderTest, TakesFilesAlone) {
  fs::create_directories(root_ + "/train/ant/folder.jpg");
  fs::create_symlink(root_ + "/train/cat 2/10.jpg", root_ + "/train/ant/99.jpg");
  const DataSplits splits = open();
  EXPECT_EQ(splits.train->size(), 10u);
  read(*splits.train, 3);
  fs::create_symlink(root_ + "/train/gone.jpg", root_ + "/train/cat 2/98.jpg");
  EXPECT_THAT(refusal(), HasSubstr("/train/cat 2/98.jpg: a link to nothing"));
}

TEST_F(ImageFolderTest, RefusesOddFoldersByName) {
  fs::create_directories(root_ + "/val/dog");
  EXPECT_THAT(refusal(), AllOf(HasSubstr("/val/dog"), HasSubstr("no pictures")));
  put_file(root_ + "/val/dog/1.png", "x");
  EXPECT_THAT(refusal(), HasSubstr("the class dog is in one of train and val only"));
  fs::remove_all(root_ + "/val");
  EXPECT_THAT(refusal(), HasSubstr("train and val (or test)"));
  fs::create_directories(root_ + "/test");
  EXPECT_THAT(refusal(), HasSubstr("/test: no class folders"));
}

TEST_F(ImageFolderTest, ABrokenPictureFailsOrGivesItsPlaceToAnother) {
  const std::string path = root_ + "/train/cat 2/11.png";
  put_file(path, get_file(path).substr(0, 40));
  EXPECT_THAT(read_error(*open().train, 4), AllOf(HasSubstr(path), HasSubstr("damaged PNG")));
  options_.cache = scratch_ / "cache";
  const DataSplits failing = open();
  const auto prepared = failing.train->prepare();
  ASSERT_FALSE(prepared);
  EXPECT_THAT(prepared.error().message, HasSubstr(path));
  options_.skip_broken = true;
  DataSplits splits = open();
  EXPECT_EQ(read(*splits.train, 4), read(*splits.train, 5));
  ASSERT_TRUE(splits.train->prepare());
  EXPECT_EQ(read(*splits.train, 4), read(*splits.train, 5)) << "from the cache";
  for (const char* each : {"10.jpg", "12.jpg"}) put_file(root_ + "/train/cat 2/" + each, "gone");
  EXPECT_THAT(read_error(*open().train, 4), HasSubstr(path)) << "nobody is left to take its place";
}

TEST_F(ImageFolderTest, APictureThatCannotBeReadIsNotABrokenOne) {
  options_.skip_broken = true;
  const DataSplits splits = open();
  const std::string path = root_ + "/train/cat 2/11.png";
  fs::remove(path);
  EXPECT_THAT(read_error(*splits.train, 4), HasSubstr(path));
}

TEST_F(ImageFolderTest, TheCacheGivesTheSamePixelsAndIsMadeAnewWhenSomethingChanged) {
  const DataSplits plain = open();
  options_.cache = scratch_ / "cache";
  const auto files = [&] {
    std::vector<std::string> names;
    for (const auto& each : fs::directory_iterator(options_.cache))
      if (each.path().extension() == ".images") names.push_back(each.path().string());
    return names;
  };
  {
    DataSplits cached = open();
    ASSERT_TRUE(cached.train->prepare());
    for (std::uint32_t i = 0; i < 9; ++i) EXPECT_EQ(read(*cached.train, i), read(*plain.train, i));
  }
  ASSERT_EQ(files().size(), 1u);
  // Damaged: refused and made anew, with the same pixels.
  std::string bytes = get_file(files()[0]);
  bytes[bytes.size() - 5] ^= 1;
  put_file(files()[0], bytes);
  {
    DataSplits again = open();
    ASSERT_TRUE(again.train->prepare());
    EXPECT_EQ(read(*again.train, 8), read(*plain.train, 8));
  }
  // Another picture under the same name: another cache.
  const std::string path = root_ + "/train/ant/10.png";
  ASSERT_TRUE(fs::exists(path));
  put_file(path, testing::as_png(testing::make_picture(77, 20, 20)));
  DataSplits changed = open();
  ASSERT_TRUE(changed.train->prepare());
  EXPECT_EQ(files().size(), 2u);
  EXPECT_NE(read(*changed.train, 0), read(*plain.train, 1));
}

}  // namespace
}  // namespace seng
