#include <initializer_list>

#include "actors/nn/layers.h"
#include "actors/nn/zoo.h"

namespace seng {
namespace {

constexpr int kWidest = 1024;
constexpr int kHalved = 32;            // five poolings
constexpr int kPoolTo = 7;             // the classifier's picture
constexpr int kHiddenPerChannel = 64;  // 4096 hidden features at width 64
constexpr double kDropout = 0.5;
constexpr int kPool = 0;  // in a list of convolutions: a max pooling instead

// Of each convolution its channels as a multiple of the width.
using Plan = std::initializer_list<int>;

// torchvision numbers the features one by one: convolution, batch norm, relu, pooling each count.
void add_features(Graph& graph, Plan plan, int width) {
  int number = 0;
  const auto next = [&] { return "features." + std::to_string(number++); };
  for (const int multiple : plan) {
    if (multiple == kPool) {
      graph.add(next(), max_pool({}));
      continue;
    }
    graph.add(next(), conv2d({.channels = multiple * width,
                              .padding = 1,
                              .initialisation = WeightInitialisation::kKaimingNormal}));
    graph.add(next(), batch_norm());
    graph.add(next(), relu());
  }
}

void add_imagenet_head(Graph& graph, int width, int classes) {
  const auto features = [](int count) { return linear(count, true, WeightInitialisation::kSmallNormal); };
  graph.add("avgpool", adaptive_average_pool(kPoolTo));
  graph.add("flatten", flatten());
  graph.add("classifier.0", features(kHiddenPerChannel * width));
  graph.add("classifier.1", relu());
  graph.add("classifier.2", dropout(kDropout));
  graph.add("classifier.3", features(kHiddenPerChannel * width));
  graph.add("classifier.4", relu());
  graph.add("classifier.5", dropout(kDropout));
  graph.add("classifier.6", features(classes));
}

void add_cifar_head(Graph& graph, int classes) {
  graph.add("avgpool", global_average_pool());
  graph.add("flatten", flatten());
  graph.add("classifier", linear(classes));
}

Result<Graph> build(Plan plan, const ZooOptions& options, ImageShape input, int classes) {
  const auto width = width_option(options, 64, kWidest);
  if (!width) return fail(width.error());
  const int side = input.height / kHalved;
  const bool large = input.height == input.width && side > 0 && side % kPoolTo == 0;
  const auto head = form_option(options, "head", large ? ImageForm::kImagenet : ImageForm::kCifar);
  if (!head) return fail(head.error());
  Graph graph(input, classes);
  add_features(graph, plan, *width);
  if (*head == ImageForm::kImagenet) {
    add_imagenet_head(graph, *width, classes);
  } else {
    add_cifar_head(graph, classes);
  }
  return graph;
}

}  // namespace

Result<Graph> build_vgg11_bn(const ZooOptions& options, ImageShape input, int classes) {
  return build({1, kPool, 2, kPool, 4, 4, kPool, 8, 8, kPool, 8, 8, kPool}, options, input, classes);
}

Result<Graph> build_vgg16_bn(const ZooOptions& options, ImageShape input, int classes) {
  return build({1, 1, kPool, 2, 2, kPool, 4, 4, 4, kPool, 8, 8, 8, kPool, 8, 8, 8, kPool}, options, input,
               classes);
}

}  // namespace seng
