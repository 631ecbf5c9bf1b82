#include "actors/data/synthetic.h"

#include <algorithm>
#include <array>
#include <cmath>

#include <fmt/format.h>

#include "actors/engine/random.h"

namespace seng {
namespace {

constexpr int kGrid = 4;  // a template is this many random corners a side, interpolated
// Counters of kSynthetic: a sample's are (index, split), a template's (class, kTemplates).
constexpr std::uint32_t kTrain = 0, kTest = 1, kTemplates = 2;
constexpr std::uint64_t kLabelIndex = ~std::uint64_t{0};

using Templates = std::shared_ptr<const std::vector<float>>;  // [classes, C, H, W]

void normalise(float* values, std::size_t count) {
  double sum = 0, squares = 0;
  for (std::size_t i = 0; i < count; ++i) sum += values[i];
  const double mean = sum / static_cast<double>(count);
  for (std::size_t i = 0; i < count; ++i) squares += (values[i] - mean) * (values[i] - mean);
  const double deviation = std::sqrt(squares / static_cast<double>(count));
  for (std::size_t i = 0; i < count; ++i) {
    values[i] = deviation > 0 ? static_cast<float>((values[i] - mean) / deviation) : values[i];
  }
}

// One channel of one template: bilinear interpolation of a kGrid x kGrid field.
void make_channel(Random& random, std::uint64_t height, std::uint64_t width, float* out) {
  std::array<double, kGrid * kGrid> corners;
  for (double& corner : corners) corner = random.uniform() - 0.5;
  const auto place = [](std::uint64_t i, std::uint64_t size) {
    return size > 1 ? double(i) * (kGrid - 1) / double(size - 1) : 0.0;
  };
  for (std::uint64_t y = 0; y < height; ++y) {
    const double v = place(y, height);
    const int row = std::min(static_cast<int>(v), kGrid - 2);
    for (std::uint64_t x = 0; x < width; ++x) {
      const double u = place(x, width);
      const int column = std::min(static_cast<int>(u), kGrid - 2);
      const double* at = corners.data() + row * kGrid + column;
      const double top = at[0] + (at[1] - at[0]) * (u - column);
      const double bottom = at[kGrid] + (at[kGrid + 1] - at[kGrid]) * (u - column);
      out[y * width + x] = static_cast<float>(top + (bottom - top) * (v - row));
    }
  }
  normalise(out, height * width);
}

Templates make_templates(const SyntheticOptions& options) {
  const std::size_t channel = options.height * options.width;
  auto values = std::make_shared<std::vector<float>>(options.classes * options.channels * channel);
  for (std::uint64_t label = 0; label < options.classes; ++label) {
    Random random(options.seed, RandomPurpose::kSynthetic, label, kTemplates);
    for (std::uint64_t c = 0; c < options.channels; ++c) {
      make_channel(random, options.height, options.width,
                   values->data() + (label * options.channels + c) * channel);
    }
  }
  return values;
}

class Synthetic : public Dataset {
 public:
  Synthetic(const SyntheticOptions& options, std::uint32_t split, std::size_t size, Templates templates)
      : options_(options), split_(split), size_(size), templates_(std::move(templates)) {
    // The sum of a byte's two halves, each uniform over 0..15 with variance 85/4.
    const double scale = options.noise / std::sqrt(42.5);
    for (int byte = 0; byte < 256; ++byte) {
      noise_[byte] = static_cast<float>(((byte >> 4) + (byte & 15) - 15) * scale);
    }
  }

  std::size_t size() const override { return size_; }
  int channels() const override { return static_cast<int>(options_.channels); }
  int height() const override { return static_cast<int>(options_.height); }
  int width() const override { return static_cast<int>(options_.width); }
  int classes() const override { return static_cast<int>(options_.classes); }
  std::size_t bytes() const override { return templates_->size() * sizeof(float) + sizeof(*this); }

  Status read(std::span<const std::uint32_t> indices, float* images, std::int32_t* labels) const override {
    const std::size_t image = options_.channels * options_.height * options_.width;
    for (std::size_t i = 0; i < indices.size(); ++i) {
      SENG_CHECK(indices[i] < size_, "a sample of the data set");
      const Random random(options_.seed, RandomPurpose::kSynthetic, indices[i], split_);
      labels[i] = static_cast<std::int32_t>(random.at(kLabelIndex)[0] * options_.classes >> 32);
      const float* base = templates_->data() + static_cast<std::size_t>(labels[i]) * image;
      make_image(random, base, image, images + i * image);
    }
    return {};
  }

 private:
  // 16 values from one draw of the generator: a byte each.
  void make_image(const Random& random, const float* base, std::size_t count, float* out) const {
    for (std::size_t first = 0; first < count; first += 16) {
      const auto words = random.at(first / 16);
      const std::size_t part = std::min<std::size_t>(16, count - first);
      for (std::size_t j = 0; j < part; ++j) {
        out[first + j] = base[first + j] + noise_[words[j / 4] >> (8 * (j % 4)) & 0xff];
      }
    }
  }

  SyntheticOptions options_;
  std::uint32_t split_;
  std::size_t size_;
  Templates templates_;
  std::array<float, 256> noise_;
};

}  // namespace

Result<DataSplits> open_synthetic(const SyntheticOptions& options) {
  const std::uint64_t bytes =
      options.classes * options.channels * options.height * options.width * sizeof(float);
  if (bytes > kSyntheticMaxTemplateBytes) {
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("data set synthetic: {} classes of {} x {} x {} need {} bytes of templates, the limit "
                    "is {}; choose fewer classes or smaller images",
                    options.classes, options.channels, options.height, options.width, bytes,
                    kSyntheticMaxTemplateBytes));
  }
  const Templates templates = make_templates(options);
  DataSplits splits;
  splits.train = std::make_unique<Synthetic>(options, kTrain, options.train, templates);
  splits.test = std::make_unique<Synthetic>(options, kTest, options.test, templates);
  return splits;
}

}  // namespace seng
