// Labelled images, by index. Implementations are immutable after opening: read() may be called from any
// thread.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "protocol/base/error.h"

namespace seng {

class Dataset {
 public:
  virtual ~Dataset() = default;
  virtual std::size_t size() const = 0;
  virtual int channels() const = 0;
  virtual int height() const = 0;
  virtual int width() const = 0;
  virtual int classes() const = 0;
  // images: [indices.size(), C, H, W], normalised floats; labels: [indices.size()].
  // Indices must be below size().
  virtual void read(std::span<const std::uint32_t> indices, float* images, std::int32_t* labels) const = 0;
  virtual std::size_t bytes() const = 0;  // memory held
};

struct DataSplits {
  std::unique_ptr<Dataset> train, test;
};

// `name` is fashion-mnist, mnist or synthetic. root "auto" searches the places that README.md of this folder
// lists; a missing set's error names every place tried and the package that holds it. An unknown name or
// option is an error with "did you mean".
Result<DataSplits> open_dataset(const std::string& name, const std::string& root,
                                const std::map<std::string, std::string>& options);

}  // namespace seng
