#include "actors/nn/initialise.h"
#include "actors/nn/layers.h"

namespace seng {
namespace {

constexpr double kSmallDeviation = 0.01;

class LinearLayerPlan final : public LayerPlan {
 public:
  explicit LinearLayerPlan(const PlanRequest& request)
      : backend_(request.backend),
        count_(request.block->count),
        weight_count_(request.block->parameters[0].count),
        bias_(request.block->bias) {
    const int in = static_cast<int>(request.block->n), out = static_cast<int>(request.block->m);
    input_ = backend_.plain({request.batch, in});
    output_ = backend_.plain({request.batch, out});
    linear_ = backend_.plan_linear({request.batch, in, out, bias_, request.training, request.input_gradient});
    parameters_ = static_cast<float*>(backend_.allocate(count_ * sizeof(float)));
  }

  LayoutPtr input() const override { return input_; }
  LayoutPtr output() const override { return output_; }
  bool keeps_input() const override { return true; }

  void load(const float* parameters, const float*, Memory where) override {
    backend_.upload(parameters, parameters_, count_ * sizeof(float), where);
  }

  void forward(const Pass& pass) override {
    linear_->forward(pass.x[0], parameters_, parameters_ + weight_count_, pass.y);
  }

  void parameter_gradient(const Pass& pass, float* gradient, float*) override {
    linear_->backward_weights(pass.x[0], pass.dy, gradient, gradient + weight_count_);
  }

  void input_gradient(const Pass& pass) override {
    if (pass.dx != nullptr) linear_->backward_data(pass.dy, parameters_, pass.dx);
  }

  std::size_t plan_factors(int samples) override {
    factor_samples_ = samples;
    return 0;
  }
  SampleFactors factors(const Pass& pass, float*) override { return {factor_samples_, pass.x[0], pass.dy}; }

 private:
  Backend& backend_;
  std::size_t count_, weight_count_;
  bool bias_;
  LayoutPtr input_, output_;
  std::unique_ptr<Linear> linear_;
  float* parameters_ = nullptr;  // [weight | bias]
  int factor_samples_ = 0;
};

class LinearLayer final : public Layer {
 public:
  LinearLayer(int features, bool bias, WeightInitialisation initialisation)
      : features_(features), bias_(bias), initialisation_(initialisation) {}

  Result<TensorShape> output(std::span<const TensorShape> inputs) const override {
    SENG_TRY(expect_inputs("linear", inputs, 1));
    if (features_ < 1) return fail(ErrorCode::kInvalidArgument, "linear needs at least one feature");
    if (inputs[0].h != 1 || inputs[0].w != 1) {
      return fail(ErrorCode::kInvalidArgument, "linear takes a vector; put a flatten before it");
    }
    return TensorShape{1, features_};
  }

  std::optional<Block> block(const std::string& name, const TensorShape& in,
                             const TensorShape& out) const override {
    Block block;
    block.name = name;
    block.kind = BlockKind::kLinear;
    block.m = out.c;
    block.n = in.c;
    block.bias = bias_;
    append_tensor(block.parameters, block.count, name + ".weight", {out.c, in.c});
    if (bias_) append_tensor(block.parameters, block.count, name + ".bias", {out.c});
    return block;
  }

  void initialise(const Block& block, Random& random, std::span<float> parameters,
                  std::span<float>) const override {
    if (initialisation_ == WeightInitialisation::kDefault) {
      fill_uniform(random, static_cast<int>(block.n), parameters);
      return;
    }
    const auto weight = parameters.first(block.parameters[0].count);
    const auto bias = parameters.subspan(weight.size());
    fill_normal(random, kSmallDeviation, weight);
    std::fill(bias.begin(), bias.end(), 0.0f);
  }

  std::unique_ptr<LayerPlan> plan(const PlanRequest& request) const override {
    return std::make_unique<LinearLayerPlan>(request);
  }

 private:
  int features_;
  bool bias_;
  WeightInitialisation initialisation_;
};

}  // namespace

LayerPtr linear(int features, bool bias, WeightInitialisation initialisation) {
  return std::make_shared<LinearLayer>(features, bias, initialisation);
}

}  // namespace seng
