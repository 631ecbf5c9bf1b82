// The networks that a job can name, one source file each.
#pragma once

#include <map>
#include <string>

#include "actors/nn/graph.h"

namespace seng {

using ZooOptions = std::map<std::string, std::string>;

// Not completed. An unknown name or option is an error with "did you mean".
Result<Graph> build_from_zoo(const std::string& name, const ZooOptions& options, ImageShape input,
                             int classes);

// hidden ("256,128"): the widths of the hidden layers fc1, fc2, ..., each followed by a relu.
Result<Graph> build_mlp(const ZooOptions& options, ImageShape input, int classes);

// conv1 bn1 relu pool, conv2 bn2 relu pool, fc1 relu, fc2. No options.
Result<Graph> build_lenet(const ZooOptions& options, ImageShape input, int classes);

// He, Zhang, Ren, Sun, arXiv 1512.03385, in its CIFAR form (a 3x3 stem of stride 1, no max pooling), with
// torchvision's names. width (64): channels of the first stage.
Result<Graph> build_resnet18(const ZooOptions& options, ImageShape input, int classes);

// A whole number in [1, largest].
Result<int> parse_width(const std::string& option, const std::string& text, int largest);

}  // namespace seng
