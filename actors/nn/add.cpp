#include "actors/nn/layers.h"

namespace seng {
namespace {

class AddLayerPlan final : public LayerPlan {
 public:
  explicit AddLayerPlan(const PlanRequest& request)
      : layout_(request.inputs[0]), add_(request.backend.plan_add(layout_, request.relu)) {
    if (request.relu && request.training) relu_ = request.backend.plan_relu(layout_);
  }

  LayoutPtr input() const override { return layout_; }
  LayoutPtr output() const override { return layout_; }
  bool keeps_output() const override { return relu_ != nullptr; }
  bool forward_in_place() const override { return true; }
  bool backward_in_place() const override { return true; }
  bool passes_gradient() const override { return relu_ == nullptr; }

  void forward(const Pass& pass) override { add_->run(pass.x[0], pass.x[1], pass.y); }
  void input_gradient(const Pass& pass) override {
    if (relu_ && pass.dx != nullptr) relu_->backward(pass.y, pass.dy, pass.dx);
  }

 private:
  LayoutPtr layout_;
  std::unique_ptr<Add> add_;
  std::unique_ptr<Relu> relu_;  // the mask of the fused relu
};

class AddLayer final : public Layer {
 public:
  Result<TensorShape> output(std::span<const TensorShape> inputs) const override {
    SENG_TRY(expect_inputs("add", inputs, 2));
    if (inputs[0] != inputs[1])
      return fail(ErrorCode::kInvalidArgument, "add takes two inputs of one shape, not " +
                                                   shape_of_one(inputs[0]) + " and " +
                                                   shape_of_one(inputs[1]));
    return inputs[0];
  }
  bool fuses_relu() const override { return true; }
  std::unique_ptr<LayerPlan> plan(const PlanRequest& request) const override {
    return std::make_unique<AddLayerPlan>(request);
  }
};

}  // namespace

LayerPtr add() {
  return std::make_shared<AddLayer>();
}

}  // namespace seng
