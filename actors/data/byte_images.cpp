#include "actors/data/byte_images.h"

namespace seng {

ByteTables byte_tables(std::span<const ChannelScale> scales) {
  ByteTables tables(scales.size());
  for (std::size_t c = 0; c < scales.size(); ++c) {
    for (int value = 0; value < 256; ++value)
      tables[c][value] = static_cast<float>((value / 255.0 - scales[c].mean) / scales[c].deviation);
  }
  return tables;
}

void normalise(const ByteTables& tables, const std::uint8_t* values, std::size_t pixels, float* out) {
  for (const auto& table : tables) {
    for (std::size_t i = 0; i < pixels; ++i) out[i] = table[values[i]];
    values += pixels;
    out += pixels;
  }
}

ByteImages::ByteImages(ByteImagesContent content)
    : content_(std::move(content)),
      image_size_(std::size_t(content_.channels) * content_.height * content_.width),
      tables_(byte_tables(content_.scales)) {
  SENG_CHECK(content_.values.size() == content_.labels.size() * image_size_, "one label for each image");
  SENG_CHECK(content_.scales.size() == std::size_t(content_.channels), "a scale for each channel");
}

Status ByteImages::read(std::span<const std::uint32_t> indices, float* images, std::int32_t* labels) const {
  const std::size_t pixels = std::size_t(content_.height) * content_.width;
  for (std::size_t i = 0; i < indices.size(); ++i) {
    SENG_CHECK(indices[i] < size(), "sample index inside the data set");
    normalise(tables_, content_.values.data() + std::size_t{indices[i]} * image_size_, pixels,
              images + i * image_size_);
    labels[i] = content_.labels[indices[i]];
  }
  return {};
}

std::size_t ByteImages::bytes() const {
  return content_.values.capacity() + content_.labels.capacity() + sizeof(*this);
}

}  // namespace seng
