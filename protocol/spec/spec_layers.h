// The layers of a network that is written in the job (`model.layers`): the one table of their types and
// options, and reading and writing them. Shapes are not known here: whether a kernel fits its input is for
// `seng-actor plan` to say.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/spec/job_spec.h"
#include "protocol/spec/spec_tree.h"

namespace seng {

inline constexpr std::string_view kImageInput = "image";  // names the network's own input
inline constexpr std::size_t kMaxLayers = 2000;

// A value of an option, as text: a whole number (or a number, or true and false) within [low, high].
struct LayerOption {
  enum class Kind { kCount, kNumber, kFlag };
  std::string_view name;
  Kind kind = Kind::kCount;
  double low = 0, high = 0;  // kNumber: high itself is refused
  std::string_view
      otherwise;  // where it is not given; empty: it must be, or (pooling's stride) is the kernel
  bool required = false;
};

struct LayerType {
  std::string_view name;
  std::size_t inputs = 1;
  std::vector<LayerOption> options;
};

std::span<const LayerType> layer_types();
const LayerType* find_layer_type(std::string_view name);

// The option's value: as given, else its default. The layer is one that read_layers has accepted.
std::string layer_option(const LayerSpec& layer, std::string_view name);

// Appends what is wrong with places and paths ("model.layers[2].kernel").
std::vector<LayerSpec> read_layers(const SpecNode& node, SpecProblems& problems);

// "{name: conv1, type: conv2d, channels: 32}"
std::string layer_text(const LayerSpec& layer);

}  // namespace seng
