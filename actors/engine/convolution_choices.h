// The table of chosen algorithms, as a job keeps it (`engine.choices`): one kind of device, and per
// convolution the library's number of its algorithm.
//
// As text it is one line: the device's name, then the entries in order,
//   NVIDIA H100 80GB HBM3; forward bf16 nhwc 32x64x56x56 128x3x3 s2 p1 = 6; ...
// where an entry says pass, arithmetic, layout, [batch, C_in, H_in, W_in], [C_out, kh, kw], stride, padding.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "actors/engine/convolution_chooser.h"
#include "protocol/base/error.h"

namespace seng {

// "forward bf16 nhwc 32x64x56x56 128x3x3 s2 p1"
std::string key_text(const ConvolutionKey& key);

class ConvolutionChoices {
 public:
  static constexpr int kMostAlgorithm = 999;

  ConvolutionChoices() = default;
  explicit ConvolutionChoices(std::string_view device);

  // kInvalidArgument: anything that to_text() does not give.
  static Result<ConvolutionChoices> parse(std::string_view text);
  std::string to_text() const;

  // Whether it is of that kind of device.
  bool is_of(std::string_view device) const;
  const std::string& device() const { return device_; }
  std::size_t size() const { return algorithms_.size(); }
  std::optional<int> find(const ConvolutionKey& key) const;
  void set(const ConvolutionKey& key, int algorithm);  // from 0 to kMostAlgorithm

 private:
  std::string device_;
  std::map<std::string, int> algorithms_;  // by key_text
};

}  // namespace seng
