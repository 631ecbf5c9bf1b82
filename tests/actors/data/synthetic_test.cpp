#include "actors/data/synthetic.h"

#include <cmath>
#include <numeric>
#include <thread>

namespace seng {
namespace {

struct Batch {
  std::vector<float> images;
  std::vector<std::int32_t> labels;
  bool operator==(const Batch&) const = default;
};

Batch read(const Dataset& data, std::uint32_t first, std::uint32_t count) {
  std::vector<std::uint32_t> indices(count);
  std::iota(indices.begin(), indices.end(), first);
  Batch batch;
  batch.images.resize(std::size_t{count} * data.channels() * data.height() * data.width());
  batch.labels.resize(count);
  data.read(indices, batch.images.data(), batch.labels.data());
  return batch;
}

SyntheticOptions small() {
  SyntheticOptions options;
  options.channels = 2;
  options.height = 9;
  options.width = 7;
  options.train = 2000;
  options.test = 500;
  return options;
}

TEST(SyntheticTest, ASampleDependsOnSeedSplitAndIndexAlone) {
  const auto one = open_synthetic(small());
  const auto two = open_synthetic(small());
  ASSERT_TRUE(one && two);
  const Batch all = read(*one->train, 0, 100);
  EXPECT_EQ(all, read(*two->train, 0, 100));
  const Batch later = read(*two->train, 60, 1);
  EXPECT_TRUE(std::equal(later.images.begin(), later.images.end(), all.images.begin() + 60 * 126));
  EXPECT_EQ(later.labels[0], all.labels[60]);

  EXPECT_NE(all.images, read(*one->test, 0, 100).images);
  SyntheticOptions other = small();
  other.seed = 1;
  EXPECT_NE(all.images, read(*open_synthetic(other)->train, 0, 100).images);
  // The sizes of the splits do not change their samples.
  other = small();
  other.train = 150;
  EXPECT_EQ(all, read(*open_synthetic(other)->train, 0, 100));
}

TEST(SyntheticTest, HasTheFormThatItsOptionsSay) {
  const auto splits = open_synthetic(small());
  ASSERT_TRUE(splits);
  EXPECT_EQ(splits->train->size(), 2000u);
  EXPECT_EQ(splits->test->size(), 500u);
  EXPECT_EQ(splits->train->channels(), 2);
  EXPECT_EQ(splits->train->height(), 9);
  EXPECT_EQ(splits->train->width(), 7);
  EXPECT_EQ(splits->train->classes(), 10);
  EXPECT_GE(splits->train->bytes(), 10u * 126 * 4);
  EXPECT_LT(splits->train->bytes(), 10u * 126 * 4 + 10000);
  float image[126];
  std::int32_t label;
  EXPECT_THROW(splits->test->read(std::vector<std::uint32_t>{500}, image, &label), InvariantError);
}

TEST(SyntheticTest, LabelsAreSpreadAndValuesHaveMeanZeroAndVarianceTwo) {
  const auto splits = open_synthetic(small());
  ASSERT_TRUE(splits);
  const Batch batch = read(*splits->train, 0, 2000);
  std::vector<int> count(10);
  for (const std::int32_t label : batch.labels) ++count.at(label);
  for (const int each : count) EXPECT_NEAR(each, 200, 70);  // deviation 13
  double sum = 0, squares = 0;
  for (const float value : batch.images) sum += value, squares += double{value} * value;
  EXPECT_NEAR(sum / batch.images.size(), 0, 0.02);
  EXPECT_NEAR(squares / batch.images.size(), 2, 0.05);  // the template's 1 and the noise's 1
}

// What is learnt from the training split holds for the test split: the nearest class mean is nearly always
// right.
TEST(SyntheticTest, CanBeLearnt) {
  const auto splits = open_synthetic(small());
  ASSERT_TRUE(splits);
  const Batch train = read(*splits->train, 0, 2000), test = read(*splits->test, 0, 500);
  std::vector<std::vector<double>> mean(10, std::vector<double>(126));
  std::vector<double> count(10);
  for (std::size_t i = 0; i < 2000; ++i) {
    count[train.labels[i]] += 1;
    for (std::size_t j = 0; j < 126; ++j) mean[train.labels[i]][j] += train.images[i * 126 + j];
  }
  int right = 0;
  for (std::size_t i = 0; i < 500; ++i) {
    int best = -1;
    double nearest = 1e300;
    for (int c = 0; c < 10; ++c) {
      double distance = 0;
      for (std::size_t j = 0; j < 126; ++j) {
        const double difference = test.images[i * 126 + j] - mean[c][j] / count[c];
        distance += difference * difference;
      }
      if (distance < nearest) nearest = distance, best = c;
    }
    right += best == test.labels[i];
  }
  EXPECT_GE(right, 475);
}

TEST(SyntheticTest, NoiseZeroGivesTheTemplates) {
  SyntheticOptions options = small();
  options.noise = 0;
  options.classes = 2;
  const auto splits = open_synthetic(options);
  ASSERT_TRUE(splits);
  const Batch batch = read(*splits->train, 0, 20);
  for (std::size_t i = 1; i < 20; ++i) {
    const bool same =
        std::equal(batch.images.begin(), batch.images.begin() + 126, batch.images.begin() + i * 126);
    EXPECT_EQ(same, batch.labels[i] == batch.labels[0]) << i;
  }
}

// Over 252,000 values: a correlation's standard deviation is 0.002.
TEST(SyntheticTest, TheNoiseOfAnyTwoPixelsIsUncorrelated) {
  SyntheticOptions silent = small();
  silent.noise = 0;
  const auto noisy = open_synthetic(small()), plain = open_synthetic(silent);
  ASSERT_TRUE(noisy && plain);
  Batch noise = read(*noisy->train, 0, 2000);
  const Batch templates = read(*plain->train, 0, 2000);
  ASSERT_EQ(noise.labels, templates.labels);
  for (std::size_t i = 0; i < noise.images.size(); ++i) noise.images[i] -= templates.images[i];
  for (std::size_t lag = 0; lag <= 130; ++lag) {
    double sum = 0;
    for (std::size_t i = lag; i < noise.images.size(); ++i)
      sum += double{noise.images[i]} * noise.images[i - lag];
    EXPECT_NEAR(sum / double(noise.images.size() - lag), lag == 0 ? 1.0 : 0.0, 0.012) << "lag " << lag;
  }
}

TEST(SyntheticTest, OnePixelImagesAreFine) {
  SyntheticOptions options;
  options.channels = options.height = options.width = 1;
  const auto splits = open_synthetic(options);
  ASSERT_TRUE(splits);
  for (const float value : read(*splits->train, 0, 100).images) EXPECT_TRUE(std::isfinite(value));
}

TEST(SyntheticTest, MayBeReadFromManyThreads) {
  const auto splits = open_synthetic(small());
  ASSERT_TRUE(splits);
  const Batch expected = read(*splits->train, 0, 500);
  std::vector<Batch> got(4);
  std::vector<std::thread> threads;
  for (Batch& batch : got) threads.emplace_back([&] { batch = read(*splits->train, 0, 500); });
  for (std::thread& thread : threads) thread.join();
  for (const Batch& batch : got) EXPECT_EQ(batch, expected);
}

}  // namespace
}  // namespace seng
