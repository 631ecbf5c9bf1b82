// The numeric contract between the networks and a device. Operations are planned once for fixed shapes and
// then run any number of times; a plan chooses the memory layouts that its device is fastest with.
//
// One Backend serves one replica: it holds its memory and scratch space, and is used by one thread at a time.
// All pointers are the backend's memory (allocate) unless a comment says "host"; a device's memory is not the
// host's to read. A tensor's elements are of its layout's type: floats where the layout is plain, else what
// the arithmetic says, whatever the pointer's type. Calls may return before the device is done; they take
// effect in order. Plans must not outlive their backend. Results are functions of the inputs alone: kernels
// are single-threaded on the CPU, and equal plans give equal bits. A vendor library's failure is a
// VendorError.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "actors/engine/arithmetic.h"
#include "actors/engine/block.h"
#include "actors/engine/convolution_chooser.h"
#include "actors/engine/cross_entropy.h"
#include "actors/engine/layout.h"
#include "actors/engine/memory.h"
#include "actors/engine/optimizer_backend.h"
#include "actors/engine/random.h"
#include "actors/engine/recording.h"
#include "actors/engine/resident.h"
#include "actors/engine/sums.h"
#include "actors/engine/vector_memory.h"
#include "protocol/base/error.h"

namespace seng {

enum class Device { kCpu, kCuda };

struct ConvolutionPlan {
  ConvolutionGeometry geometry;
  int batch = 0;
  bool bias = false;
  bool direct = false;         // never Winograd
  bool training = true;        // plans the gradient of the weights
  bool input_gradient = true;  // and, with training, that of the input
};

class Convolution {
 public:
  virtual ~Convolution() = default;
  virtual LayoutPtr input() const = 0;   // of x and dx; the caller reorders what is not in it
  virtual LayoutPtr output() const = 0;  // of y and dy
  virtual bool winograd() const = 0;     // F(4x4, 3x3): faster, with larger rounding errors
  virtual bool reference() const = 0;    // it has only the library's plain loops: a hundred times slower
  virtual std::size_t packed_bytes() const = 0;
  // weight: [C_out, C_in, kh, kw]. packed: what the other calls take.
  virtual void pack(const float* weight, float* packed, Memory of_weight = Memory::kHost) = 0;
  virtual void forward(const float* x, const float* packed, const float* bias, float* y) = 0;
  virtual void backward_data(const float* dy, const float* packed, float* dx) = 0;
  // weight_gradient: [C_out, C_in, kh, kw]; bias_gradient: [C_out], without a bias ignored. Both overwritten.
  virtual void backward_weights(const float* x, const float* dy, float* weight_gradient,
                                float* bias_gradient) = 0;
};

struct LinearPlan {
  int batch = 0, in = 0, out = 0;
  bool bias = true;
  bool training = true, input_gradient = true;
};

// y = x W^T + b with x [batch, in], W [out, in], y [batch, out], all plain.
class Linear {
 public:
  virtual ~Linear() = default;
  virtual void forward(const float* x, const float* weight, const float* bias, float* y) = 0;
  virtual void backward_data(const float* dy, const float* weight, float* dx) = 0;
  virtual void backward_weights(const float* x, const float* dy, float* weight_gradient,
                                float* bias_gradient) = 0;
};

struct BatchNormPlan {
  LayoutPtr layout;  // of x, y, dx and dy
  float epsilon = 1e-5f;
  bool relu = false;  // y = max(0, normalised); the backward pass applies its mask
  bool training = true;
};

class BatchNorm {
 public:
  virtual ~BatchNorm() = default;
  virtual std::size_t workspace_bytes() const = 0;  // from forward to backward
  // Leaves the batch's mean and biased variance, [C] each.
  virtual void forward(const float* x, const float* gamma, const float* beta, float* mean, float* variance,
                       void* workspace, float* y) = 0;
  virtual void infer(const float* x, const float* gamma, const float* beta, const float* mean,
                     const float* variance, float* y) = 0;
  // dx may be dy.
  virtual void backward(const float* x, const float* dy, const float* gamma, const float* mean,
                        const float* variance, const void* workspace, float* dx, float* gamma_gradient,
                        float* beta_gradient) = 0;
  // Each of the first `samples` samples' own dgamma and dbeta, [samples, 2, C]. With relu, dy counts where
  // gamma * x-hat + beta > 0.
  virtual void sample_gradients(int samples, const float* x, const float* dy, const float* gamma,
                                const float* beta, const float* mean, const float* variance, float* out) = 0;
  // out: [mean | unbiased variance], [C] each, of the batch's mean and biased variance.
  virtual void statistics(const float* mean, const float* variance, float* out) = 0;
};

enum class PoolKind { kMax, kAverage };  // the average counts padding, as PyTorch's does

struct PoolPlan {
  PoolKind kind = PoolKind::kMax;
  LayoutPtr input;
  int kernel_h = 2, kernel_w = 2, stride = 2, padding = 0;
  bool training = true;
};

class Pool {
 public:
  virtual ~Pool() = default;
  virtual LayoutPtr output() const = 0;
  virtual std::size_t workspace_bytes() const = 0;
  virtual void forward(const float* x, void* workspace, float* y) = 0;
  virtual void backward(const float* dy, const void* workspace, float* dx) = 0;
};

class Relu {
 public:
  virtual ~Relu() = default;
  virtual void forward(const float* x, float* y) = 0;                     // y may be x
  virtual void backward(const float* y, const float* dy, float* dx) = 0;  // dx may be dy
};

class Add {
 public:
  virtual ~Add() = default;
  virtual void run(const float* a, const float* b, float* sum) = 0;  // sum may be a
};

class Reorder {
 public:
  virtual ~Reorder() = default;
  virtual void run(const float* from, float* to) = 0;
};

// Keeps a value with probability 1 - p, then scaled by 1/(1 - p). The backward pass is the same operation.
class Dropout {
 public:
  virtual ~Dropout() = default;
  // key: memory. Plain; y may be x.
  virtual void run(const DropoutKey* key, std::uint32_t layer, const float* x, float* y) = 0;
};

class Backend : public OptimizerBackend {
 public:
  virtual Device device() const = 0;
  virtual std::string device_name() const = 0;  // "cpu", "NVIDIA H100 80GB HBM3"

  // Called by the thread that is about to run plans, before the first of a pass.
  virtual void enter() = 0;
  virtual void wait() = 0;  // until all calls so far have taken effect

  // Memory of the replica, aligned for the device, zeroed, given back with the backend.
  virtual void* allocate(std::size_t bytes) = 0;
  virtual std::size_t allocated_bytes() const = 0;  // scratch included, once a kernel has asked for it
  virtual std::size_t planned_bytes() const = 0;    // when all plans have run
  virtual void upload(const void* from, void* memory, std::size_t bytes, Memory of_from = Memory::kHost) = 0;
  // Memory of the host that upload() takes as it is: what lies there stays until this is called again, which
  // waits for what was taken. Null: upload() is as quick from anywhere.
  virtual std::byte* upload_area(std::size_t bytes) = 0;
  // The same floats, times `factor`, where the host can read them, until the memory is written or the view's
  // number is asked for again: view 0 and view 1 stand beside each other. Waits for the device.
  static constexpr int kViews = 2;
  virtual const float* host_view(const float* memory, std::size_t count, int view, float factor = 1) = 0;

  // `calls` run plans and do nothing else: no upload, no view. What changes from run to run they find in
  // memory, of which they are made to read the same places each time. A GPU calls them twice or more often.
  virtual std::unique_ptr<Recording> record(std::function<void()> calls) = 0;
  virtual std::unique_ptr<Feed> plan_feed(void* memory, std::size_t bytes) = 0;
  // Of so many floats in so many pieces between two calls of begin(). Null where the host is as near: on the
  // CPU.
  virtual std::unique_ptr<Drain> plan_drain(std::size_t floats, std::size_t pieces) = 0;

  virtual LayoutPtr plain(TensorShape shape) = 0;
  virtual std::unique_ptr<Convolution> plan_convolution(const ConvolutionPlan& plan) = 0;
  virtual std::unique_ptr<Linear> plan_linear(const LinearPlan& plan) = 0;
  virtual std::unique_ptr<BatchNorm> plan_batch_norm(const BatchNormPlan& plan) = 0;
  virtual std::unique_ptr<Pool> plan_pool(const PoolPlan& plan) = 0;
  virtual std::unique_ptr<Relu> plan_relu(const LayoutPtr& layout) = 0;
  virtual std::unique_ptr<Add> plan_add(const LayoutPtr& layout, bool relu) = 0;  // relu: max(0, a + b)
  virtual std::unique_ptr<Dropout> plan_dropout(TensorShape shape, double probability) = 0;
  virtual std::unique_ptr<CrossEntropy> plan_cross_entropy(int batch, int classes) = 0;
  virtual std::unique_ptr<Sums> plan_sums(std::size_t count) = 0;
  // Null where the host is as near to it: on the CPU.
  virtual std::unique_ptr<ResidentState> plan_resident_state(const ResidentPlan& plan) = 0;
  // Of the same device, but not of this backend, which it may outlive.
  virtual std::shared_ptr<VectorMemory> make_vector_memory() = 0;
  // Moves the first `samples` samples (n of the shapes, if fewer are asked for) between layouts of one shape.
  virtual std::unique_ptr<Reorder> plan_reorder(const LayoutPtr& from, const LayoutPtr& to, int samples) = 0;
};

// kUnsupported when this build or machine has no such device or precision; the message says what is missing.
// `chooser`, if any, is asked while convolutions are planned and outlives the planning; the CPU asks nobody.
Result<std::unique_ptr<Backend>> make_backend(Device device, Arithmetic precision = Arithmetic::kF32,
                                              ConvolutionChooser* chooser = nullptr);

}  // namespace seng
