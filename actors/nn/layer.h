// A layer of a graph (Layer: an immutable description) and its form planned for one replica (LayerPlan).
//
// Adding a layer: one file with a Layer and its LayerPlan, a factory in layers.h, a gradient test.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "actors/engine/backend.h"
#include "actors/engine/block.h"
#include "actors/engine/random.h"
#include "protocol/base/error.h"

namespace seng {

struct PlanRequest {
  Backend& backend;
  int batch = 0;
  const Block* block = nullptr;  // layers with parameters
  std::vector<LayoutPtr> inputs;
  TensorShape output;  // with n = batch
  bool training = true;
  bool input_gradient = true;
  bool direct_convolution = false;
  bool relu = false;        // a following relu is to be done here; only if fuses_relu()
  std::uint32_t index = 0;  // of the layer in its graph
};

// Everything a pass needs of one layer; pointers are the backend's memory.
struct Pass {
  std::array<const float*, 2> x{};  // inputs
  float* y = nullptr;
  const float* dy = nullptr;
  float* dx = nullptr;        // null where the gradient of the input is not wanted
  void* workspace = nullptr;  // workspace_bytes(), kept from forward to backward
  const DropoutKey* dropout = nullptr;
};

class LayerPlan {
 public:
  virtual ~LayerPlan() = default;

  virtual LayoutPtr input() const = 0;  // that it wants of every input
  virtual LayoutPtr output() const = 0;
  virtual std::size_t workspace_bytes() const { return 0; }

  // What memory planning must know.
  virtual bool keeps_input() const { return false; }        // x is read after the forward pass
  virtual bool keeps_output() const { return false; }       // y is
  virtual bool forward_in_place() const { return false; }   // y may be x[0]
  virtual bool backward_in_place() const { return false; }  // dx may be dy
  virtual bool identity() const { return false; }           // y is x[0]: forward has nothing to do
  virtual bool passes_gradient() const {
    return false;
  }                                                // dx is dy, for every input: backward has nothing to do
  virtual bool needs_dx() const { return false; }  // even where the input's gradient is not wanted

  // The block's own runs of the flat arrays.
  virtual void load(const float* /*parameters*/, const float* /*statistics*/, Memory /*of_both*/) {}
  virtual void forward(const Pass& pass) = 0;  // training
  virtual void infer(const Pass& pass) { forward(pass); }
  // gradient: block.count floats, overwritten; statistics: block.statistics_count, likewise; the backend's.
  virtual void parameter_gradient(const Pass& /*pass*/, float* /*gradient*/, float* /*statistics*/) {}
  virtual void input_gradient(const Pass& /*pass*/) {}  // after parameter_gradient

  // Curvature factors (block.h) of the first `samples` samples: plan_factors returns how many floats of
  // memory factors() needs. Called before parameter_gradient.
  virtual std::size_t plan_factors(int /*samples*/) { return 0; }
  virtual SampleFactors factors(const Pass& /*pass*/, float* /*memory*/) { return {}; }
};

class Layer {
 public:
  virtual ~Layer() = default;

  // The output's shape for these inputs; shapes have n = 1. The error says what does not fit.
  virtual Result<TensorShape> output(std::span<const TensorShape> inputs) const = 0;

  // The layer's parameters, without offsets in the flat arrays; nothing for layers that have none.
  virtual std::optional<Block> block(const std::string& /*name*/, const TensorShape& /*input*/,
                                     const TensorShape& /*output*/) const {
    return std::nullopt;
  }
  // The block's own runs of the flat arrays.
  virtual void initialise(const Block& /*block*/, Random& /*random*/, std::span<float> /*parameters*/,
                          std::span<float> /*statistics*/) const {}

  virtual bool is_relu() const { return false; }
  virtual bool fuses_relu() const { return false; }
  virtual std::unique_ptr<LayerPlan> plan(const PlanRequest& request) const = 0;
};
using LayerPtr = std::shared_ptr<const Layer>;

// The plan of a layer that changes no value: only the name of the layout may be another.
std::unique_ptr<LayerPlan> identity_plan(LayoutPtr input, LayoutPtr output);

// Appends a tensor to a block's parameters or statistics; its offset is relative to the block's run.
void append_tensor(std::vector<BlockTensor>& tensors, std::size_t& count, std::string name,
                   std::vector<std::int64_t> shape);

// "name needs one input, not 2": a guard for output().
Status expect_inputs(const char* layer, std::span<const TensorShape> inputs, std::size_t count);

// One sample's, for messages: "64x8x8".
inline std::string shape_of_one(const TensorShape& shape) {
  return std::to_string(shape.c) + "x" + std::to_string(shape.h) + "x" + std::to_string(shape.w);
}

}  // namespace seng
