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
  // read() gives (value/255 - mean) / deviation.
  double mean = 0, deviation = 1;
};

class ByteImages : public Dataset {
 public:
  explicit ByteImages(ByteImagesContent content);

  std::size_t size() const override { return content_.labels.size(); }
  int channels() const override { return content_.channels; }
  int height() const override { return content_.height; }
  int width() const override { return content_.width; }
  int classes() const override { return content_.classes; }
  void read(std::span<const std::uint32_t> indices, float* images, std::int32_t* labels) const override;
  std::size_t bytes() const override;

 private:
  ByteImagesContent content_;
  std::size_t image_size_;
  std::array<float, 256> normalised_;
};

}  // namespace seng
