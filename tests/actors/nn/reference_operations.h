// The reference's layers; used by reference_network.cpp.
#pragma once

#include <memory>
#include <vector>

#include "tests/actors/nn/reference_network.h"

namespace seng::reference {

struct Context {
  bool training = true;
  const Batch* batch = nullptr;
  const double* parameters = nullptr;  // the operation's own runs of the flat arrays
  const double* running = nullptr;
  double* gradient = nullptr;
  double* statistics = nullptr;   // out, training
  Tensor* activations = nullptr;  // out: the factors of layers with parameters
};

class Operation {
 public:
  virtual ~Operation() = default;
  virtual bool has_parameters() const { return false; }
  virtual Tensor forward(const std::vector<const Tensor*>& x, const Context& context) const = 0;
  // The gradient of each input.
  virtual std::vector<Tensor> backward(const std::vector<const Tensor*>& x, const Tensor& y, const Tensor& dy,
                                       const Context& context) const = 0;
};

std::unique_ptr<Operation> conv_operation(const Conv2dShape& shape);
std::unique_ptr<Operation> linear_operation(int features, bool bias);
std::unique_ptr<Operation> batch_norm_operation();
std::unique_ptr<Operation> relu_operation();
std::unique_ptr<Operation> pool_operation(bool maximum, int kernel, int stride,
                                          int padding);  // kernel 0: global
std::unique_ptr<Operation> flatten_operation();
std::unique_ptr<Operation> add_operation();
std::unique_ptr<Operation> dropout_operation(double probability, std::uint32_t layer);

}  // namespace seng::reference
