#include "tests/parity/machine.h"

#include <chrono>
#include <cmath>
#include <limits>

#include "actors/engine/bf16.h"

namespace seng::testing {

float* Machine::room(std::size_t floats) {
  return static_cast<float*>(backend_->allocate(std::max<std::size_t>(floats, 1) * sizeof(float)));
}

float* Machine::room(const LayoutPtr& layout) {
  return static_cast<float*>(backend_->allocate(layout->bytes()));
}

float* Machine::put(const Values& values) {
  float* memory = room(values.size());
  const Values near = rounded(values, rounding);
  backend_->upload(near.data(), memory, near.size() * sizeof(float));
  return memory;
}

void* Machine::put_bytes(const void* host, std::size_t bytes) {
  void* memory = backend_->allocate(bytes);
  backend_->upload(host, memory, bytes);
  return memory;
}

float* Machine::put(const LayoutPtr& layout, const Values& values) {
  float* plain = put(values);
  if (layout->plain()) return plain;
  float* memory = room(layout);
  const auto reorder = backend_->plan_reorder(backend_->plain(layout->shape()), layout, layout->shape().n);
  reorder->run(plain, memory);
  wait();
  return memory;
}

Values Machine::get(const float* memory, std::size_t count) {
  const float* view = backend_->host_view(memory, count, 0);
  return Values(view, view + count);
}

Values Machine::get(const float* memory, const LayoutPtr& layout) {
  const std::size_t count = layout->shape().count();
  if (layout->plain()) return get(memory, count);
  float* plain = room(count);
  const auto reorder = backend_->plan_reorder(layout, backend_->plain(layout->shape()), layout->shape().n);
  reorder->run(memory, plain);
  return get(plain, count);
}

LayoutPtr Machine::convolutional(TensorShape shape) {
  ConvolutionPlan plan;
  plan.geometry = {shape.c, shape.h, shape.w, shape.c, shape.h, shape.w, 3, 3, 1, 1};
  plan.batch = shape.n;
  plan.direct = true;
  return backend_->plan_convolution(plan)->output();
}

void Machine::wait() {
  if (probe_ == nullptr) probe_ = room(1);
  backend_->host_view(probe_, 1, 1);
}

void Machine::run(const std::string& name, const std::function<void()>& operation) {
  operation();
  if (!timing) return;
  constexpr int kRounds = 5, kCalls = 4;
  double best = std::numeric_limits<double>::infinity();
  for (int round = 0; round < kRounds; ++round) {
    wait();
    const auto start = std::chrono::steady_clock::now();
    for (int call = 0; call < kCalls; ++call) operation();
    wait();
    const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - start;
    best = std::min(best, took.count() / kCalls);
  }
  milliseconds[name] = best;
}

Values normal(Random& random, std::size_t count, float mean, float deviation) {
  Values values(count);
  for (float& value : values) value = mean + deviation * random.normal();
  return values;
}

Values rounded(Values values, Arithmetic arithmetic) {
  for (float& value : values) {
    if (arithmetic == Arithmetic::kBf16) value = widen(narrow(value));
    if (arithmetic == Arithmetic::kF16) value = static_cast<float>(static_cast<_Float16>(value));
  }
  return values;
}

double relative_error(const Values& a, const Values& b) {
  if (a.size() != b.size()) return std::numeric_limits<double>::infinity();
  double difference = 0, size = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    difference += (double(a[i]) - b[i]) * (double(a[i]) - b[i]);
    size += double(b[i]) * b[i];
  }
  if (!std::isfinite(difference) || !std::isfinite(size)) return std::numeric_limits<double>::infinity();
  return size > 0 ? std::sqrt(difference / size) : std::sqrt(difference);
}

}  // namespace seng::testing
