#include <algorithm>
#include <array>

#include "actors/nn/layers.h"
#include "actors/nn/zoo.h"

namespace seng {
namespace {

constexpr int kWidest = 1024;
constexpr int kBottleneckExpansion = 4;
// From here on the five halvings of the large form leave a picture (3x3) and not a point.
constexpr int kLeastLargeSide = 96;

struct Shape {
  std::array<int, 4> units;  // residual blocks of each stage
  bool bottleneck = false;
};

struct Unit {
  int channels = 0, stride = 1;
  bool project = false;  // the shortcut is a 1x1 convolution, where the shape changes
};

LayerPtr convolution(int channels, int kernel, int stride) {
  return conv2d({.channels = channels,
                 .kernel_h = kernel,
                 .kernel_w = kernel,
                 .stride = stride,
                 .padding = kernel / 2,
                 .bias = false,
                 .initialisation = WeightInitialisation::kKaimingNormal});
}

class Builder {
 public:
  Builder(Graph& graph, const Shape& shape, bool zero_residual)
      : graph_(graph), shape_(shape), last_scale_(zero_residual ? 0.0f : 1.0f) {}

  void add_stem(int width, ImageForm form) {
    const bool large = form == ImageForm::kImagenet;
    graph_.add("conv1", large ? convolution(width, 7, 2) : convolution(width, 3, 1));
    graph_.add("bn1", batch_norm());
    last_ = graph_.add("relu", relu());
    if (large) last_ = graph_.add("maxpool", max_pool({.kernel = 3, .stride = 2, .padding = 1}));
  }

  void add_stages(int width) {
    for (int stage = 0; stage < 4; ++stage) {
      for (int unit = 0; unit < shape_.units[stage]; ++unit) {
        const bool first = unit == 0;
        add_unit("layer" + std::to_string(stage + 1) + "." + std::to_string(unit),
                 {.channels = width << stage,
                  .stride = first && stage > 0 ? 2 : 1,
                  .project = first && (stage > 0 || shape_.bottleneck)});
      }
    }
  }

 private:
  // Two 3x3 convolutions, or 1x1, 3x3 (which has the stride) and 1x1 to four times the channels.
  void add_unit(const std::string& name, const Unit& unit) {
    const int out = unit.channels * (shape_.bottleneck ? kBottleneckExpansion : 1);
    if (shape_.bottleneck) {
      add_convolution(name, "1", convolution(unit.channels, 1, 1));
      add_convolution(name, "2", convolution(unit.channels, 3, unit.stride));
    } else {
      add_convolution(name, "1", convolution(out, 3, unit.stride));
    }
    const std::string last = shape_.bottleneck ? "3" : "2";
    graph_.add(name + ".conv" + last, convolution(out, shape_.bottleneck ? 1 : 3, 1));
    const int residual = graph_.add(name + ".bn" + last, batch_norm(last_scale_));
    int shortcut = last_;
    if (unit.project) {
      graph_.add(name + ".downsample.0", convolution(out, 1, unit.stride), {last_});
      shortcut = graph_.add(name + ".downsample.1", batch_norm());
    }
    graph_.add(name + ".add", add(), {residual, shortcut});
    last_ = graph_.add(name + ".relu" + last, relu());
  }

  void add_convolution(const std::string& name, const std::string& number, LayerPtr layer) {
    const bool first = number == "1";
    graph_.add(name + ".conv" + number, std::move(layer), first ? std::vector{last_} : std::vector<int>{});
    graph_.add(name + ".bn" + number, batch_norm());
    graph_.add(name + ".relu" + number, relu());
  }

  Graph& graph_;
  const Shape& shape_;
  const float last_scale_;
  int last_ = kImage;
};

Result<Graph> build(const Shape& shape, const ZooOptions& options, ImageShape input, int classes) {
  const auto width = width_option(options, 64, kWidest);
  if (!width) return fail(width.error());
  const bool large = std::min(input.height, input.width) >= kLeastLargeSide;
  const auto stem = form_option(options, "stem", large ? ImageForm::kImagenet : ImageForm::kCifar);
  if (!stem) return fail(stem.error());
  const auto zero_residual = flag_option(options, "zero_init_residual", false);
  if (!zero_residual) return fail(zero_residual.error());
  Graph graph(input, classes);
  Builder builder(graph, shape, *zero_residual);
  builder.add_stem(*width, *stem);
  builder.add_stages(*width);
  graph.add("avgpool", global_average_pool());
  graph.add("flatten", flatten());
  graph.add("fc", linear(classes));
  return graph;
}

}  // namespace

Result<Graph> build_resnet18(const ZooOptions& options, ImageShape input, int classes) {
  return build({{2, 2, 2, 2}}, options, input, classes);
}

Result<Graph> build_resnet34(const ZooOptions& options, ImageShape input, int classes) {
  return build({{3, 4, 6, 3}}, options, input, classes);
}

Result<Graph> build_resnet50(const ZooOptions& options, ImageShape input, int classes) {
  return build({{3, 4, 6, 3}, true}, options, input, classes);
}

}  // namespace seng
