// The judge of the networks: every layer written down in double precision as its definition reads, with no
// thought of speed and nothing shared with the engine but the random numbers of dropout. Its backward pass is
// itself checked against central differences of its forward pass (reference_test.cpp).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "actors/nn/graph.h"
#include "actors/nn/network.h"

namespace seng::reference {

struct Tensor {
  int n = 0, c = 0, h = 1, w = 1;
  std::vector<double> values;

  Tensor() = default;
  Tensor(int n_, int c_, int h_, int w_)
      : n(n_), c(c_), h(h_), w(w_), values(std::size_t(n_) * c_ * h_ * w_) {}
  double& at(int i, int j, int y, int x) { return values[((std::size_t(i) * c + j) * h + y) * w + x]; }
  double at(int i, int j, int y, int x) const { return values[((std::size_t(i) * c + j) * h + y) * w + x]; }
};

struct Batch {
  int samples = 0;
  std::vector<float> images;
  std::vector<std::int32_t> labels;
  std::uint64_t seed = 5, step = 3;
  std::uint32_t first_sample = 16;
  MicroBatch micro() const { return {samples, images.data(), labels.data(), seed, step, first_sample}; }
};
Batch random_batch(std::uint64_t seed, int samples, ImageShape shape, int classes);

struct Conv2dShape {
  int channels = 1, kernel_h = 3, kernel_w = 3, stride = 1, padding = 0;
  bool bias = true;
};

class Operation;

struct Outcome {
  double loss = 0;  // sum over samples
  std::uint64_t hits = 0;
  Tensor logits;
  std::vector<double> gradient;    // the flat parameters' layout
  std::vector<double> statistics;  // batch mean and unbiased variance
  // Of each block: its layer's input (batch norm: x-hat) and the gradient with respect to its output.
  std::vector<Tensor> activations, output_gradients;
};

// Builds the reference and the engine's graph of one network side by side. Layers follow the last one unless
// `from` says otherwise; each returns its index.
class ReferenceNetwork {
 public:
  ReferenceNetwork(ImageShape input, int classes);
  ~ReferenceNetwork();

  int conv(const std::string& name, const Conv2dShape& shape, int from = kLast);
  int linear(const std::string& name, int features, bool bias = true);
  int batch_norm(const std::string& name, int from = kLast);
  int relu(int from = kLast);
  int max_pool(int kernel, int stride, int padding);
  int average_pool(int kernel, int stride, int padding);
  int global_average_pool();
  int flatten();
  int add(int a, int b);
  int dropout(double probability);

  const Graph& graph() const { return graph_; }
  Network network() const;

  Outcome train(const std::vector<double>& parameters, const Batch& batch, double smoothing) const;
  Outcome evaluate(const std::vector<double>& parameters, const std::vector<double>& statistics,
                   const Batch& batch) const;

  static constexpr int kLast = -2;

 private:
  int append(std::unique_ptr<Operation> operation, std::vector<int> inputs, const std::string& name,
             LayerPtr layer);
  Outcome run(const std::vector<double>& parameters, const std::vector<double>* statistics,
              const Batch& batch, double smoothing) const;

  Graph graph_;
  struct Node {
    std::unique_ptr<Operation> operation;
    std::vector<int> inputs;
  };
  std::vector<Node> nodes_;
};

// |a - b| / |b| in the Euclidean norm.
double relative_error(const std::vector<double>& a, const std::vector<double>& b);

}  // namespace seng::reference
