// Labelled images, by index. Implementations are immutable after prepare(): reading may be done from any
// thread, and several at the same time.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "protocol/base/error.h"

namespace seng {

// How a channel's byte becomes a float: (byte/255 - mean) / deviation.
struct ChannelScale {
  double mean = 0, deviation = 1;
};

struct PixelSize {
  int height = 0, width = 0;
};

// A part of an image, in its pixels; the edges may lie between pixels.
struct PixelBox {
  double top = 0, left = 0, height = 0, width = 0;
};

class Dataset {
 public:
  virtual ~Dataset() = default;
  virtual std::size_t size() const = 0;
  virtual int channels() const = 0;
  virtual int height() const = 0;
  virtual int width() const = 0;
  virtual int classes() const = 0;
  // images: [indices.size(), C, H, W], normalised floats; labels: [indices.size()].
  // Indices must be below size(). Fails where an image's file cannot be read or is damaged, naming it.
  virtual Status read(std::span<const std::uint32_t> indices, float* images, std::int32_t* labels) const = 0;
  // The part of one image that `choose` wants of an image of a given size, scaled to [C, H, W]. The size is
  // that of the source, which may be larger than H x W; without one of its own, H x W.
  using ChooseBox = std::function<PixelBox(PixelSize source)>;
  virtual Status read_part(std::uint32_t index, const ChooseBox& choose, float* image,
                           std::int32_t* label) const;
  // One for each channel; empty where the values are no bytes.
  virtual std::span<const ChannelScale> scales() const { return {}; }
  // What takes long and only a reader needs, as unpacking all images once; before the first read.
  virtual Status prepare() { return {}; }
  virtual std::size_t bytes() const = 0;  // memory held
};

struct DataSplits {
  std::unique_ptr<Dataset> train, test;
};

// `name` is one of README.md's table. root "auto" searches the places that README.md of this folder
// lists; a missing set's error names every place tried and the package that holds it. An unknown name or
// option is an error with "did you mean".
Result<DataSplits> open_dataset(const std::string& name, const std::string& root,
                                const std::map<std::string, std::string>& options);

}  // namespace seng
