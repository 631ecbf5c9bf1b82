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

// He, Zhang, Ren, Sun, arXiv 1512.03385, with torchvision's names. Options:
//   stem                imagenet (7x7 of stride 2, max pooling) or cifar (3x3 of stride 1, no pooling); by
//                       default imagenet where the image's shorter side has 96 pixels or more
//   zero_init_residual  true: every block begins as its shortcut (the last batch norm's scale is 0); false
//   width               channels of the first stage, 64
Result<Graph> build_resnet18(const ZooOptions& options, ImageShape input, int classes);
Result<Graph> build_resnet34(const ZooOptions& options, ImageShape input, int classes);
Result<Graph> build_resnet50(const ZooOptions& options, ImageShape input, int classes);  // bottlenecks

// Simonyan, Zisserman, arXiv 1409.1556, with batch norm and torchvision's names. Options:
//   head   imagenet (7x7 adaptive pooling, two hidden layers of 64 x width with dropout) or cifar (global
//          pooling and one linear layer, "classifier"); by default imagenet where its pooling is offered: for
//          square images whose features are a multiple of 7 a side, as those of 224 pixels are
//   width  channels of the first convolution, 64
Result<Graph> build_vgg11_bn(const ZooOptions& options, ImageShape input, int classes);
Result<Graph> build_vgg16_bn(const ZooOptions& options, ImageShape input, int classes);

// Of the option, or `otherwise` where it is not given: a whole number in [1, largest], true or false, and
// one of the form's two names.
Result<int> width_option(const ZooOptions& options, int otherwise, int largest);
Result<bool> flag_option(const ZooOptions& options, const std::string& name, bool otherwise);
enum class ImageForm { kCifar, kImagenet };
Result<ImageForm> form_option(const ZooOptions& options, const std::string& name, ImageForm otherwise);

// A whole number in [1, largest].
Result<int> parse_width(const std::string& option, const std::string& text, int largest);

}  // namespace seng
