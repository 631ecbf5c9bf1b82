// Folders of pictures, as ImageNet's users and torchvision's ImageFolder have them: DIR/train/CLASS/*.jpg and
// DIR/val/CLASS/*.jpg (or DIR/test). Classes are numbered in the order of their names, pictures within a
// class likewise.
#pragma once

#include <string>
#include <vector>

#include "actors/data/dataset.h"
#include "actors/data/places.h"

namespace seng {

struct ImageFolderOptions {
  int size = 224;    // read() gives [channels, size, size]
  int resize = 0;    // the shorter side is scaled to this, then the middle is cut out; 0: size
  int channels = 3;  // or 1
  // One for each channel: by default ImageNet's.
  std::vector<ChannelScale> scales;
  // A picture that cannot be decoded: false: reading fails, naming the file. true: the next whole one of its
  // class takes its place, always the same, and the log names the file.
  bool skip_broken = false;
  // Where unpacked pictures are kept: a directory, or "off". They are where they take at most kMaxCacheBytes.
  std::string cache = "off";
};

inline constexpr std::size_t kMaxCacheBytes = std::size_t{2} << 30;  // of a split

// root: the directory that holds train/; there is no search.
Result<DataSplits> open_image_folder(const std::string& root, const ImageFolderOptions& options);

}  // namespace seng
