#include "actors/data/augment.h"

#include <map>
#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "actors/data/byte_images.h"

namespace seng::augment_test {
namespace {

constexpr int kSamples = 40;
constexpr ImagePlanes kPlanes{3, {6, 8}};
constexpr std::uint64_t kSeed = 11;

ByteImages random_images(int channels = 3) {
  std::mt19937 random(5);
  ByteImagesContent content;
  content.channels = channels;
  content.height = 6;
  content.width = 8;
  content.classes = 7;
  for (int i = 0; i < kSamples; ++i) content.labels.push_back(static_cast<std::uint8_t>(i % 7));
  for (int i = 0; i < kSamples * channels * 48; ++i)
    content.values.push_back(static_cast<std::uint8_t>(random()));
  content.scales = {{.5, .25}, {.4, .2}, {.3, .5}};
  content.scales.resize(channels);
  return ByteImages(std::move(content));
}

LabelledImages read(const Dataset& data, const AugmentSpec& spec, const std::vector<SampleUse>& samples,
                    std::uint64_t seed = kSeed) {
  const auto augmenter = Augmenter::create(spec, seed, data);
  EXPECT_TRUE(augmenter) << augmenter.error().message;
  LabelledImages out;
  EXPECT_TRUE(augmenter->read(samples, out));
  return out;
}

std::vector<SampleUse> all_samples(std::uint64_t epoch) {
  std::vector<SampleUse> samples;
  for (std::uint32_t i = 0; i < kSamples; ++i) samples.push_back({epoch, i});
  return samples;
}

std::vector<float> image_of(const LabelledImages& images, std::size_t i) {
  return {images.images.begin() + static_cast<std::ptrdiff_t>(i * kPlanes.count()),
          images.images.begin() + static_cast<std::ptrdiff_t>((i + 1) * kPlanes.count())};
}

AugmentSpec everything() {
  AugmentSpec spec;
  spec.resized_crop = 0.3;
  spec.flip = true;
  spec.brightness = spec.contrast = spec.saturation = 0.4;
  spec.hue = 0.1;
  spec.cutout = 3;
  return spec;
}

TEST(Augment, NothingIsThePlainImages) {
  const ByteImages data = random_images();
  const auto samples = all_samples(3);
  const LabelledImages plain = read(data, {}, samples);
  std::vector<float> images(kSamples * kPlanes.count());
  std::vector<std::int32_t> labels(kSamples);
  std::vector<std::uint32_t> indices(kSamples);
  for (std::uint32_t i = 0; i < kSamples; ++i) indices[i] = i;
  ASSERT_TRUE(data.read(indices, images.data(), labels.data()));
  EXPECT_EQ(plain.images, images);
  EXPECT_EQ(plain.labels, labels);
  EXPECT_TRUE(plain.partners.empty());
}

// Whatever is read along with it, in whatever order.
TEST(Augment, ASampleOfAnEpochHasAlwaysTheSamePixels) {
  const ByteImages data = random_images();
  const auto samples = all_samples(2);
  const LabelledImages together = read(data, everything(), samples);
  for (std::size_t i = kSamples; i-- > 0;) {
    EXPECT_EQ(read(data, everything(), {samples[i]}).images, image_of(together, i));
    EXPECT_EQ(together.labels[i], static_cast<int>(i) % 7);
  }
  EXPECT_NE(read(data, everything(), all_samples(3)).images, together.images);
  EXPECT_NE(read(data, everything(), samples, kSeed + 1).images, together.images);
}

// Every result is one of the shifts of its sample, and all shifts occur.
TEST(Augment, PadCropTakesEveryShift) {
  const ByteImages data = random_images();
  const LabelledImages plain = read(data, {}, all_samples(0));
  std::vector<float> black;
  for (const ChannelScale& scale : data.scales())
    black.push_back(static_cast<float>((0.0 - scale.mean) / scale.deviation));
  AugmentSpec spec;
  spec.pad_crop = 1;
  std::map<std::pair<int, int>, int> seen;
  for (std::uint64_t epoch = 0; epoch < 20; ++epoch) {
    const LabelledImages cropped = read(data, spec, all_samples(epoch));
    for (std::size_t i = 0; i < kSamples; ++i) {
      int matches = 0;
      for (int down = -1; down <= 1; ++down)
        for (int right = -1; right <= 1; ++right) {
          std::vector<float> expected(kPlanes.count());
          shift(kPlanes, image_of(plain, i).data(), down, right, black, expected.data());
          if (expected != image_of(cropped, i)) continue;
          ++matches;
          ++seen[{down, right}];
        }
      ASSERT_EQ(matches, 1);
    }
  }
  ASSERT_EQ(seen.size(), 9u);
  for (const auto& [shift, count] : seen) EXPECT_NEAR(count, 20 * kSamples / 9.0, 40);
}

TEST(Augment, FlipTurnsHalfOfThem) {
  const ByteImages data = random_images();
  AugmentSpec spec;
  spec.flip = true;
  int flipped = 0;
  for (std::uint64_t epoch = 0; epoch < 20; ++epoch) {
    const LabelledImages plain = read(data, {}, all_samples(epoch)),
                         out = read(data, spec, all_samples(epoch));
    for (std::size_t i = 0; i < kSamples; ++i) {
      auto mirrored = image_of(plain, i);
      flip_left_right(kPlanes, mirrored.data());
      if (image_of(out, i) == mirrored) {
        ++flipped;
      } else {
        ASSERT_EQ(image_of(out, i), image_of(plain, i));
      }
    }
  }
  EXPECT_NEAR(flipped, 400, 80);
}

TEST(Augment, JitterStaysWithinWhatBytesCanBe) {
  const ByteImages data = random_images();
  AugmentSpec spec;
  spec.brightness = spec.contrast = spec.saturation = 0.8;
  spec.hue = 0.5;
  const LabelledImages plain = read(data, {}, all_samples(0)), out = read(data, spec, all_samples(0));
  for (std::size_t i = 0; i < kSamples; ++i) {
    EXPECT_NE(image_of(out, i), image_of(plain, i));
    for (std::size_t j = 0; j < kPlanes.count(); ++j) {
      const ChannelScale& scale = data.scales()[j / kPlanes.pixels()];
      const double unit = image_of(out, i)[j] * scale.deviation + scale.mean;
      ASSERT_GE(unit, -1e-5);
      ASSERT_LE(unit, 1 + 1e-5);
    }
  }
}

TEST(Augment, CutoutClearsASquare) {
  const ByteImages data = random_images();
  AugmentSpec spec;
  spec.cutout = 2;
  const LabelledImages plain = read(data, {}, all_samples(0)), out = read(data, spec, all_samples(0));
  for (std::size_t i = 0; i < kSamples; ++i) {
    int matches = 0;
    for (int row = 0; row < 6; ++row)
      for (int column = 0; column < 8; ++column) {
        auto expected = image_of(plain, i);
        cut_out(kPlanes, row, column, 2, expected.data());
        matches += expected == image_of(out, i);
      }
    EXPECT_EQ(matches, 1);
  }
}

TEST(Augment, MixupMixesWithTheNextOfTheMicroBatch) {
  const ByteImages data = random_images();
  AugmentSpec spec;
  spec.flip = true;
  const std::vector<SampleUse> samples = {{1, 3}, {1, 17}, {1, 30}, {2, 4}};
  const LabelledImages parts = read(data, spec, samples);
  spec.mixup = 0.7;
  const LabelledImages mixed = read(data, spec, samples);
  EXPECT_EQ(mixed.labels, parts.labels);
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(mixed.partners[i], parts.labels[(i + 1) % 4]);
    const float w = mixed.weights[i];
    EXPECT_GT(w, 0);
    EXPECT_LT(w, 1);
    const auto a = image_of(parts, i), b = image_of(parts, (i + 1) % 4), m = image_of(mixed, i);
    for (std::size_t j = 0; j < m.size(); ++j) ASSERT_NEAR(m[j], w * a[j] + (1 - w) * b[j], 1e-6);
  }
  // The weight is the sample's own, whoever is beside it.
  EXPECT_EQ(read(data, spec, {samples[1], samples[3]}).weights[0], mixed.weights[1]);
  EXPECT_TRUE(read(data, spec, {samples[0]}).partners.empty()) << "nobody to mix with";
}

TEST(Augment, RefusesWhatDoesNotSuitTheImages) {
  const ByteImages colour = random_images(), grey = random_images(1);
  const auto refusal = [](const Dataset& data, const AugmentSpec& spec) {
    const auto augmenter = Augmenter::create(spec, 1, data);
    return augmenter ? "accepted" : augmenter.error().message;
  };
  AugmentSpec spec;
  spec.hue = 0.1;
  EXPECT_EQ(refusal(colour, spec), "accepted");
  EXPECT_THAT(refusal(grey, spec), ::testing::HasSubstr("data.augment.color_jitter"));
  spec = {};
  spec.brightness = 0.1;
  EXPECT_EQ(refusal(grey, spec), "accepted");
  EXPECT_THAT(refusal(random_images(2), spec), ::testing::HasSubstr("color_jitter"));
  spec = {};
  spec.cutout = 7;
  EXPECT_THAT(refusal(colour, spec), ::testing::HasSubstr("data.augment.cutout: 7 pixels; expected at most"));
}

}  // namespace
}  // namespace seng::augment_test
