// One device in the operations' table: moves tensors to it and back, and takes times.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "actors/engine/backend.h"
#include "actors/engine/random.h"

namespace seng::testing {

using Values = std::vector<float>;

class Machine {
 public:
  explicit Machine(std::unique_ptr<Backend> backend) : backend_(std::move(backend)) { backend_->enter(); }

  Backend& backend() { return *backend_; }
  // All that is put is rounded to it first, so that two devices begin with the same numbers.
  Arithmetic rounding = Arithmetic::kF32;
  // Memory for a tensor of this layout, holding `values`, which are plain [n, c, h, w].
  float* put(const LayoutPtr& layout, const Values& values);
  float* put(const Values& values);  // as they are
  void* put_bytes(const void* host, std::size_t bytes);
  float* room(const LayoutPtr& layout);
  float* room(std::size_t floats);
  Values get(const float* memory, const LayoutPtr& layout);  // in plain order
  Values get(const float* memory, std::size_t count);
  // The layout that this device's convolutions give such a tensor.
  LayoutPtr convolutional(TensorShape shape);

  // What an operation gives, by name; compared between devices.
  std::map<std::string, Values> results;
  // Runs it; with timing, again a few times, and keeps the quickest in milliseconds.
  void run(const std::string& name, const std::function<void()>& operation);
  bool timing = false;
  std::map<std::string, double> milliseconds;

 private:
  void wait();

  std::unique_ptr<Backend> backend_;
  float* probe_ = nullptr;
};

// How big the table's tensors are.
struct Size {
  int batch, channels, image;
};

struct Operation {
  std::string name;
  bool product;  // a convolution or linear layer: what a lower precision changes
  std::function<void(Machine& machine, Random& random, const Size& size)> run;
};

const std::vector<Operation>& operations();

Values normal(Random& random, std::size_t count, float mean = 0, float deviation = 1);
// To the nearest that 16 bits hold; other arithmetics change nothing.
Values rounded(Values values, Arithmetic arithmetic);
// |a - b| / |b|; infinite where the sizes differ or a value is not finite.
double relative_error(const Values& a, const Values& b);

}  // namespace seng::testing
