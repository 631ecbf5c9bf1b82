// Byte buffers that cross threads and sockets without being copied.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace seng {

// An immutable run of bytes kept alive by a shared owner (a vector, a received ZeroMQ message, a mapped
// file). Copying shares. Thread-safe as shared_ptr is: distinct Frames may be used from distinct threads.
class Frame {
 public:
  Frame() = default;
  Frame(std::shared_ptr<const void> owner, const void* data, std::size_t size)
      : owner_(std::move(owner)), data_(static_cast<const std::byte*>(data)), size_(size) {}

  static Frame copy_of(const void* data, std::size_t size);
  static Frame from_string(std::string text);

  const std::byte* data() const { return data_; }
  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  std::string_view text() const { return {reinterpret_cast<const char*>(data_), size_}; }
  std::span<const std::byte> bytes() const { return {data_, size_}; }
  const std::shared_ptr<const void>& owner() const { return owner_; }
  // A part of the same bytes. Requires offset + size <= this->size().
  Frame part(std::size_t offset, std::size_t size) const;

 private:
  std::shared_ptr<const void> owner_;
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

std::string to_hex(std::span<const std::byte> bytes);

}  // namespace seng
