#include "actors/nn/layers.h"

namespace seng {
namespace {

class ReluLayerPlan final : public LayerPlan {
 public:
  explicit ReluLayerPlan(const PlanRequest& request)
      : layout_(request.inputs[0]), relu_(request.backend.plan_relu(layout_)) {}

  LayoutPtr input() const override { return layout_; }
  LayoutPtr output() const override { return layout_; }
  bool keeps_output() const override { return true; }
  bool forward_in_place() const override { return true; }
  bool backward_in_place() const override { return true; }

  void forward(const Pass& pass) override { relu_->forward(pass.x[0], pass.y); }
  void input_gradient(const Pass& pass) override {
    if (pass.dx != nullptr) relu_->backward(pass.y, pass.dy, pass.dx);
  }

 private:
  LayoutPtr layout_;
  std::unique_ptr<Relu> relu_;
};

class ReluLayer final : public Layer {
 public:
  Result<TensorShape> output(std::span<const TensorShape> inputs) const override {
    SENG_TRY(expect_inputs("relu", inputs, 1));
    return inputs[0];
  }
  bool is_relu() const override { return true; }
  std::unique_ptr<LayerPlan> plan(const PlanRequest& request) const override {
    return std::make_unique<ReluLayerPlan>(request);
  }
};

}  // namespace

LayerPtr relu() {
  return std::make_shared<ReluLayer>();
}

}  // namespace seng
