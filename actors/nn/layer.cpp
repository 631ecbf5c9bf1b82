#include "actors/nn/layer.h"

namespace seng {
namespace {

class IdentityPlan final : public LayerPlan {
 public:
  IdentityPlan(LayoutPtr input, LayoutPtr output) : input_(std::move(input)), output_(std::move(output)) {}

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

}  // namespace

std::unique_ptr<LayerPlan> identity_plan(LayoutPtr input, LayoutPtr output) {
  return std::make_unique<IdentityPlan>(std::move(input), std::move(output));
}

void append_tensor(std::vector<BlockTensor>& tensors, std::size_t& count, std::string name,
                   std::vector<std::int64_t> shape) {
  BlockTensor tensor{std::move(name), std::move(shape), count, 1};
  for (const std::int64_t extent : tensor.shape) tensor.count *= static_cast<std::size_t>(extent);
  count += tensor.count;
  tensors.push_back(std::move(tensor));
}

Status expect_inputs(const char* layer, std::span<const TensorShape> inputs, std::size_t count) {
  if (inputs.size() == count) return {};
  return fail(ErrorCode::kInvalidArgument, std::string(layer) + " takes " + std::to_string(count) +
                                               (count == 1 ? " input, not " : " inputs, not ") +
                                               std::to_string(inputs.size()));
}

}  // namespace seng
