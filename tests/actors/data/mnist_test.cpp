#include "actors/data/mnist.h"

#include <cmath>
#include <numeric>

#include "protocol/base/text.h"
#include "tests/actors/data/idx_bytes.h"
#include "tests/actors/data/scratch_directory.h"

namespace seng {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// A small set of the family's form: 6 training and 4 test images of 2 x 3.
struct SmallSet {
  std::string train_images = idx_bytes({6, 2, 3}, std::string(36, '\x80'));
  std::string train_labels = idx_bytes({6}, std::string("\0\1\2\3\4\x09", 6));
  std::string test_images = idx_bytes({4, 2, 3}, std::string(24, '\x20'));
  std::string test_labels = idx_bytes({4}, std::string("\5\6\7\x08", 4));

  void put(const std::string& directory, bool compressed = false) const {
    fs::create_directories(directory);
    const auto write = [&](const std::string& name, const std::string& bytes) {
      put_file(directory + "/" + name + (compressed ? ".gz" : ""), compressed ? gzip(bytes) : bytes);
    };
    write("train-images-idx3-ubyte", train_images);
    write("train-labels-idx1-ubyte", train_labels);
    write("t10k-images-idx3-ubyte", test_images);
    write("t10k-labels-idx1-ubyte", test_labels);
  }
};

class MnistTest : public ::testing::Test {
 protected:
  Result<DataSplits> open(const std::string& root, MnistLimits limits = {}) {
    return open_mnist(fashion_mnist_family(), root, places_, limits);
  }
  std::string error_of(const Result<DataSplits>& result, ErrorCode code) {
    if (result) return "no error";
    EXPECT_EQ(result.error().code, code) << result.error().message;
    return result.error().message;
  }

  ScratchDirectory scratch_;
  DataPlaces places_{.seng_data = scratch_ / "data",
                     .xdg_data_home = scratch_ / "xdg",
                     .home = scratch_ / "home",
                     .system = scratch_ / "usr/share/datasets"};
  SmallSet set_;
};

TEST_F(MnistTest, NormalisesWithTheTrainingSetsMeanAndDeviation) {
  for (int value = 0; value < 36; ++value) set_.train_images[16 + value] = static_cast<char>(value * 7);
  set_.put(scratch_ / "here");
  const auto splits = open(scratch_ / "here");
  ASSERT_TRUE(splits) << splits.error().message;
  const Dataset& train = *splits->train;
  EXPECT_EQ(train.size(), 6u);
  EXPECT_EQ(train.channels(), 1);
  EXPECT_EQ(train.height(), 2);
  EXPECT_EQ(train.width(), 3);
  EXPECT_EQ(train.classes(), 10);
  EXPECT_GE(train.bytes(), 42u);
  EXPECT_EQ(splits->test->size(), 4u);

  const std::vector<std::uint32_t> indices = {5, 0, 5};
  std::vector<float> images(3 * 6);
  std::vector<std::int32_t> labels(3);
  train.read(indices, images.data(), labels.data());
  EXPECT_THAT(labels, ElementsAre(9, 0, 9));
  for (std::size_t i = 0; i < 18; ++i) {
    const double value = (indices[i / 6] * 6 + i % 6) * 7.0;
    EXPECT_EQ(images[i], static_cast<float>((value / 255 - 0.2860) / 0.3530)) << i;
  }
  EXPECT_THROW(train.read(std::vector<std::uint32_t>{6}, images.data(), labels.data()), InvariantError);
}

TEST_F(MnistTest, SearchesThePlacesInOrder) {
  EXPECT_THAT(candidate_directories(fashion_mnist_family(), "auto", places_),
              ElementsAre(scratch_ / "data/fashion-mnist", scratch_ / "data/FashionMNIST/raw",
                          scratch_ / "xdg/seng/fashion-mnist", scratch_ / "xdg/seng/FashionMNIST/raw",
                          scratch_ / "home/.local/share/seng/fashion-mnist",
                          scratch_ / "home/.local/share/seng/FashionMNIST/raw",
                          scratch_ / "usr/share/datasets/fashion-mnist",
                          scratch_ / "usr/share/datasets/FashionMNIST/raw"));
  EXPECT_THAT(candidate_directories(mnist_family(), "/a", places_),
              ElementsAre("/a", "/a/mnist", "/a/MNIST/raw"));
  EXPECT_THAT(candidate_directories(mnist_family(), "auto", DataPlaces{}),
              ElementsAre("/usr/share/datasets/mnist", "/usr/share/datasets/MNIST/raw"));
  // Each later place is found while the earlier ones are empty, and loses to an earlier one.
  std::size_t size = 6;
  const auto candidates = candidate_directories(fashion_mnist_family(), "auto", places_);
  for (const std::string& directory : candidates)
    ASSERT_TRUE(directory.starts_with(scratch_.path())) << "the test would write to " << directory;
  for (auto place = candidates.rbegin(); place != candidates.rend(); ++place) {
    ++size;
    set_.train_images = idx_bytes({static_cast<std::uint32_t>(size), 2, 3}, std::string(size * 6, 'a'));
    set_.train_labels = idx_bytes({static_cast<std::uint32_t>(size)}, std::string(size, '\1'));
    set_.put(*place, size % 2 == 0);
    const auto splits = open("auto");
    ASSERT_TRUE(splits) << splits.error().message;
    EXPECT_EQ(splits->train->size(), size) << *place;
  }
}

TEST_F(MnistTest, AMissingSetNamesEveryPlaceAndThePackage) {
  const std::string text = error_of(open("auto"), ErrorCode::kNotFound);
  EXPECT_EQ(split_errors(text).size(), 1u) << "its further lines are indented";
  for (const std::string& place : candidate_directories(fashion_mnist_family(), "auto", places_)) {
    EXPECT_THAT(text, HasSubstr("\n    " + place + "\n"));
  }
  EXPECT_THAT(text, HasSubstr("`apt-get install dataset-fashion-mnist`"));
  EXPECT_THAT(text, HasSubstr("data.root"));
  EXPECT_THAT(error_of(open(scratch_ / "nowhere"), ErrorCode::kNotFound), HasSubstr(scratch_ / "nowhere"));
}

TEST_F(MnistTest, AnIncompleteSetNamesWhatIsMissing) {
  set_.put(scratch_ / "data/fashion-mnist");
  fs::remove(scratch_ / "data/fashion-mnist/t10k-labels-idx1-ubyte");
  set_.put(scratch_ / "usr/share/datasets/fashion-mnist");
  EXPECT_THAT(
      error_of(open("auto"), ErrorCode::kNotFound),
      AllOf(HasSubstr(scratch_ / "data/fashion-mnist"), HasSubstr("lacks t10k-labels-idx1-ubyte[.gz]")));
}

TEST_F(MnistTest, RefusesLabelsThatDoNotFit) {
  set_.train_labels[8 + 3] = 10;
  set_.put(scratch_ / "here");
  EXPECT_THAT(
      error_of(open(scratch_ / "here"), ErrorCode::kCorrupt),
      AllOf(HasSubstr("train-labels-idx1-ubyte"), HasSubstr("label 10 at index 3"), HasSubstr("0 to 9")));
  set_ = {};
  set_.test_labels = idx_bytes({3}, std::string(3, '\1'));
  set_.put(scratch_ / "here");
  EXPECT_THAT(error_of(open(scratch_ / "here"), ErrorCode::kCorrupt),
              AllOf(HasSubstr("has 4 images"), HasSubstr("has 3 labels"), HasSubstr("t10k-images")));
}

TEST_F(MnistTest, RefusesSplitsOfDifferentImageSizes) {
  set_.test_images = idx_bytes({4, 3, 2}, std::string(24, 'a'));
  set_.put(scratch_ / "here");
  EXPECT_THAT(error_of(open(scratch_ / "here"), ErrorCode::kCorrupt), HasSubstr("different sizes"));
  set_.test_images = idx_bytes({4, 1, 5000}, std::string(20000, 'a'));
  set_.put(scratch_ / "here");
  EXPECT_THAT(error_of(open(scratch_ / "here"), ErrorCode::kCorrupt), HasSubstr("images of 1 x 5000"));
}

TEST_F(MnistTest, LimitsTakeTheFirstImages) {
  set_.put(scratch_ / "here", true);
  const auto splits = open(scratch_ / "here", {5, 1});
  ASSERT_TRUE(splits) << splits.error().message;
  EXPECT_EQ(splits->train->size(), 5u);
  EXPECT_EQ(splits->test->size(), 1u);
  std::vector<float> image(6);
  std::int32_t label = -1;
  splits->test->read(std::vector<std::uint32_t>{0}, image.data(), &label);
  EXPECT_EQ(label, 5);
  EXPECT_THAT(error_of(open(scratch_ / "here", {7, 0}), ErrorCode::kInvalidArgument),
              AllOf(HasSubstr("train_limit is 7"), HasSubstr("has 6 images")));
  EXPECT_THAT(error_of(open(scratch_ / "here", {0, 5}), ErrorCode::kInvalidArgument),
              HasSubstr("test_limit is 5"));
}

TEST(FashionMnistTest, TheRealSetHasItsPublishedStatistics) {
  auto splits = open_dataset("fashion-mnist", "auto", {});
  if (!splits && splits.error().code == ErrorCode::kNotFound) GTEST_SKIP() << splits.error().message;
  ASSERT_TRUE(splits) << splits.error().message;
  ASSERT_EQ(splits->train->size(), 60000u);
  ASSERT_EQ(splits->test->size(), 10000u);
  std::vector<std::uint32_t> indices(60000);
  std::iota(indices.begin(), indices.end(), 0u);
  std::vector<float> images(60000 * 784);
  std::vector<std::int32_t> labels(60000);
  splits->train->read(indices, images.data(), labels.data());
  std::vector<int> count(10);
  for (const std::int32_t label : labels) ++count[label];
  EXPECT_EQ(count, std::vector<int>(10, 6000));
  EXPECT_EQ(labels[0], 9);
  double sum = 0, squares = 0;
  for (const float value : images) sum += value, squares += double{value} * value;
  const double mean = sum / static_cast<double>(images.size());
  EXPECT_NEAR(mean, 0, 2e-3);
  EXPECT_NEAR(std::sqrt(squares / static_cast<double>(images.size()) - mean * mean), 1, 2e-3);
}

}  // namespace
}  // namespace seng
