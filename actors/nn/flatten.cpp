#include "actors/nn/layers.h"

namespace seng {
namespace {

// Plain [C, H, W] already lies as its flattened form does; what else comes is reordered before.
class FlattenPlan final : public LayerPlan {
 public:
  explicit FlattenPlan(const PlanRequest& request)
      : input_(request.backend.plain(request.inputs[0]->shape())),
        output_(request.backend.plain(request.output)) {}

  LayoutPtr input() const override { return input_; }
  LayoutPtr output() const override { return output_; }
  bool forward_in_place() const override { return true; }
  bool backward_in_place() const override { return true; }
  bool identity() const override { return true; }
  bool passes_gradient() const override { return true; }
  void forward(const Pass&) override {}

 private:
  LayoutPtr input_, output_;
};

class FlattenLayer final : public Layer {
 public:
  Result<TensorShape> output(std::span<const TensorShape> inputs) const override {
    SENG_TRY(expect_inputs("flatten", inputs, 1));
    return TensorShape{1, inputs[0].c * inputs[0].h * inputs[0].w};
  }
  std::unique_ptr<LayerPlan> plan(const PlanRequest& request) const override {
    return std::make_unique<FlattenPlan>(request);
  }
};

}  // namespace

LayerPtr flatten() {
  return std::make_shared<FlattenLayer>();
}

}  // namespace seng
