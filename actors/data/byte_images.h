// Images kept as one byte a value and normalised as they are read.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "actors/data/dataset.h"

namespace seng {

struct ByteImagesContent {
  int channels = 1, height = 0, width = 0, classes = 0;
  std::vector<std::uint8_t> values;  // [size, C, H, W]
  std::vector<std::uint8_t> labels;  // [size], each below classes
  std::vector<ChannelScale> scales;  // one for each channel
};

// The float of every byte, per channel.
using ByteTables = std::vector<std::array<float, 256>>;
ByteTables byte_tables(std::span<const ChannelScale> scales);
// values: [C, pixels] to normalised floats of the same shape.
void normalise(const ByteTables& tables, const std::uint8_t* values, std::size_t pixels, float* out);

class ByteImages : public Dataset {
 public:
  explicit ByteImages(ByteImagesContent content);

  std::size_t size() const override { return content_.labels.size(); }
  int channels() const override { return content_.channels; }
  int height() const override { return content_.height; }
  int width() const override { return content_.width; }
  int classes() const override { return content_.classes; }
  Status read(std::span<const std::uint32_t> indices, float* images, std::int32_t* labels) const override;
  std::span<const ChannelScale> scales() const override { return content_.scales; }
  std::size_t bytes() const override;

 private:
  ByteImagesContent content_;
  std::size_t image_size_;
  ByteTables tables_;
};

}  // namespace seng
