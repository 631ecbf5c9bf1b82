#include "protocol/base/bytes.h"

#include <utility>
#include <vector>

#include "protocol/base/error.h"

namespace seng {

Frame Frame::copy_of(const void* data, std::size_t size) {
  if (size == 0) return {};
  const auto* first = static_cast<const std::byte*>(data);
  auto bytes = std::make_shared<const std::vector<std::byte>>(first, first + size);
  const void* start = bytes->data();
  return Frame(std::move(bytes), start, size);
}

Frame Frame::from_string(std::string text) {
  auto owned = std::make_shared<const std::string>(std::move(text));
  const void* start = owned->data();
  const std::size_t size = owned->size();
  return Frame(std::move(owned), start, size);
}

Frame Frame::part(std::size_t offset, std::size_t size) const {
  SENG_CHECK(offset <= size_ && size <= size_ - offset, "a part outside of its frame");
  return Frame(owner_, data_ + offset, size);
}

std::string to_hex(std::span<const std::byte> bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  text.reserve(bytes.size() * 2);
  for (const std::byte b : bytes) {
    text += kDigits[std::to_integer<unsigned>(b) >> 4];
    text += kDigits[std::to_integer<unsigned>(b) & 15];
  }
  return text;
}

}  // namespace seng
