#include "actors/nn/layers.h"

namespace seng {
namespace {

class FlattenLayer final : public Layer {
 public:
  Result<TensorShape> output(std::span<const TensorShape> inputs) const override {
    SENG_TRY(expect_inputs("flatten", inputs, 1));
    return TensorShape{1, inputs[0].c * inputs[0].h * inputs[0].w};
  }
  std::unique_ptr<LayerPlan> plan(const PlanRequest& request) const override {
    // Plain [C, H, W] already lies as its flattened form does; what else comes is reordered before.
    return identity_plan(request.backend.plain(request.inputs[0]->shape()),
                         request.backend.plain(request.output));
  }
};

}  // namespace

LayerPtr flatten() {
  return std::make_shared<FlattenLayer>();
}

}  // namespace seng
