// Unpacked images of one size in a file, so that they are decoded once: mapped into memory, which all actors
// of a machine share and the kernel takes back when it is short of it.
//
// Format (little endian), version 1; a header of 128 bytes, then the values:
//
//   0  magic "SENGIMGS"     8  version, u32       12  channels, u32    16  height, u32    20  width, u32
//  24  count, u64          32  fingerprint, 32 bytes: of everything that the values depend on
//  64  SHA-256 of the values                      96  SHA-256 of bytes 0 to 95
// 128  values: count x channels x height x width bytes
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "protocol/base/error.h"
#include "protocol/base/sha256.h"

namespace seng {

struct ImageCacheShape {
  std::uint32_t channels = 0, height = 0, width = 0;
  std::uint64_t count = 0;
  std::size_t image_bytes() const { return std::size_t(channels) * height * width; }
  bool operator==(const ImageCacheShape&) const = default;
};

class ImageCache {
 public:
  // Makes image `index`, [C, H, W]. Called from several threads.
  using MakeImage = std::function<Status(std::uint64_t index, std::uint8_t* out)>;

  // Maps the file; one that is damaged, or of another fingerprint, version or shape, is refused by name.
  static Result<std::unique_ptr<ImageCache>> open(const std::string& path, const ImageCacheShape& shape,
                                                  const Digest& fingerprint);

  // As open; where there is none, or a refused one (`note` is told), makes the file on `threads` threads:
  // written aside, synced, renamed. Of several processes one makes it and the others wait. Memory beside the
  // page cache: one run of images a thread.
  static Result<std::unique_ptr<ImageCache>> open_or_make(const std::string& path,
                                                          const ImageCacheShape& shape,
                                                          const Digest& fingerprint, const MakeImage& make,
                                                          int threads,
                                                          const std::function<void(std::string)>& note);
  ~ImageCache();
  ImageCache(const ImageCache&) = delete;
  ImageCache& operator=(const ImageCache&) = delete;

  const std::uint8_t* image(std::uint64_t index) const { return values_ + index * image_bytes_; }

 private:
  ImageCache() = default;
  void* map_ = nullptr;
  std::size_t map_bytes_ = 0, image_bytes_ = 0;
  const std::uint8_t* values_ = nullptr;
};

}  // namespace seng
