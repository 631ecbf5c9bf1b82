#include "actors/nn/layers.h"

namespace seng {
namespace {

class DropoutLayerPlan final : public LayerPlan {
 public:
  DropoutLayerPlan(const PlanRequest& request, double probability)
      : index_(request.index),
        layout_(request.backend.plain(request.output)),
        dropout_(request.backend.plan_dropout(request.output, probability)),
        copy_(request.backend.plan_reorder(layout_, layout_, request.batch)) {}

  LayoutPtr input() const override { return layout_; }
  LayoutPtr output() const override { return layout_; }
  bool forward_in_place() const override { return true; }
  bool backward_in_place() const override { return true; }

  void forward(const Pass& pass) override { dropout_->run(pass.dropout, index_, pass.x[0], pass.y); }
  void infer(const Pass& pass) override {
    if (pass.y != pass.x[0]) copy_->run(pass.x[0], pass.y);
  }
  void input_gradient(const Pass& pass) override {
    if (pass.dx != nullptr) dropout_->run(pass.dropout, index_, pass.dy, pass.dx);
  }

 private:
  std::uint32_t index_;
  LayoutPtr layout_;
  std::unique_ptr<Dropout> dropout_;
  std::unique_ptr<Reorder> copy_;
};

class DropoutLayer final : public Layer {
 public:
  explicit DropoutLayer(double probability) : probability_(probability) {}

  Result<TensorShape> output(std::span<const TensorShape> inputs) const override {
    SENG_TRY(expect_inputs("dropout", inputs, 1));
    if (!(probability_ >= 0 && probability_ < 1)) {
      return fail(ErrorCode::kInvalidArgument, "dropout needs a probability in [0, 1)");
    }
    return inputs[0];
  }
  std::unique_ptr<LayerPlan> plan(const PlanRequest& request) const override {
    return std::make_unique<DropoutLayerPlan>(request, probability_);
  }

 private:
  double probability_;
};

}  // namespace

LayerPtr dropout(double probability) {
  return std::make_shared<DropoutLayer>(probability);
}

}  // namespace seng
