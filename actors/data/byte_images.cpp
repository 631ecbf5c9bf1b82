#include "actors/data/byte_images.h"

namespace seng {

ByteImages::ByteImages(ByteImagesContent content)
    : content_(std::move(content)),
      image_size_(std::size_t(content_.channels) * content_.height * content_.width) {
  SENG_CHECK(content_.values.size() == content_.labels.size() * image_size_, "one label for each image");
  for (int value = 0; value < 256; ++value) {
    normalised_[value] = static_cast<float>((value / 255.0 - content_.mean) / content_.deviation);
  }
}

void ByteImages::read(std::span<const std::uint32_t> indices, float* images, std::int32_t* labels) const {
  for (std::size_t i = 0; i < indices.size(); ++i) {
    SENG_CHECK(indices[i] < size(), "sample index inside the data set");
    const std::uint8_t* from = content_.values.data() + std::size_t{indices[i]} * image_size_;
    float* to = images + i * image_size_;
    for (std::size_t j = 0; j < image_size_; ++j) to[j] = normalised_[from[j]];
    labels[i] = content_.labels[indices[i]];
  }
}

std::size_t ByteImages::bytes() const {
  return content_.values.capacity() + content_.labels.capacity() + sizeof(*this);
}

}  // namespace seng
