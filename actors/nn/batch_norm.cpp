#include "actors/nn/layers.h"

namespace seng {
namespace {

class BatchNormLayerPlan final : public LayerPlan {
 public:
  explicit BatchNormLayerPlan(const PlanRequest& request)
      : backend_(request.backend),
        layout_(request.inputs[0]),
        shape_(layout_->shape()),
        relu_(request.relu),
        norm_(backend_.plan_batch_norm({layout_, 1e-5f, relu_, request.training})) {
    values_ = static_cast<float*>(backend_.allocate(6 * shape_.c * sizeof(float)));
  }

  LayoutPtr input() const override { return layout_; }
  LayoutPtr output() const override { return layout_; }
  std::size_t workspace_bytes() const override { return norm_->workspace_bytes(); }
  bool keeps_input() const override { return true; }
  bool backward_in_place() const override { return true; }
  bool needs_dx() const override { return true; }

  void load(const float* parameters, const float* statistics, Memory where) override {
    backend_.upload(parameters, gamma(), 2 * shape_.c * sizeof(float), where);
    backend_.upload(statistics, running_mean(), 2 * shape_.c * sizeof(float), where);
  }

  void forward(const Pass& pass) override {
    norm_->forward(pass.x[0], gamma(), beta(), mean(), variance(), pass.workspace, pass.y);
  }

  void infer(const Pass& pass) override {
    norm_->infer(pass.x[0], gamma(), beta(), running_mean(), running_mean() + shape_.c, pass.y);
  }

  void parameter_gradient(const Pass& pass, float* gradient, float* statistics) override {
    norm_->backward(pass.x[0], pass.dy, gamma(), mean(), variance(), pass.workspace, pass.dx, gradient,
                    gradient + shape_.c);
    norm_->statistics(mean(), variance(), statistics);
  }

  std::size_t plan_factors(int samples) override {
    factor_samples_ = samples;
    return std::size_t(samples) * 2 * shape_.c;
  }

  SampleFactors factors(const Pass& pass, float* memory) override {
    norm_->sample_gradients(factor_samples_, pass.x[0], pass.dy, gamma(), beta(), mean(), variance(), memory);
    return {factor_samples_, nullptr, memory};
  }

 private:
  float* gamma() { return values_; }
  float* beta() { return values_ + shape_.c; }
  float* running_mean() { return values_ + 2 * shape_.c; }
  float* mean() { return values_ + 4 * shape_.c; }
  float* variance() { return values_ + 5 * shape_.c; }

  Backend& backend_;
  LayoutPtr layout_;
  TensorShape shape_;
  bool relu_;
  std::unique_ptr<BatchNorm> norm_;
  float* values_ =
      nullptr;  // [gamma | beta | running mean | running variance | mean | biased variance], C each
  int factor_samples_ = 0;
};

class BatchNormLayer final : public Layer {
 public:
  explicit BatchNormLayer(float initial_scale) : initial_scale_(initial_scale) {}

  Result<TensorShape> output(std::span<const TensorShape> inputs) const override {
    SENG_TRY(expect_inputs("batch_norm", inputs, 1));
    return inputs[0];
  }

  std::optional<Block> block(const std::string& name, const TensorShape& in,
                             const TensorShape&) const override {
    Block block;
    block.name = name;
    block.kind = BlockKind::kBatchNorm;
    block.m = in.c;
    block.n = 1;
    block.positions = std::int64_t{in.h} * in.w;
    block.bias = true;
    append_tensor(block.parameters, block.count, name + ".weight", {in.c});
    append_tensor(block.parameters, block.count, name + ".bias", {in.c});
    append_tensor(block.statistics, block.statistics_count, name + ".running_mean", {in.c});
    append_tensor(block.statistics, block.statistics_count, name + ".running_var", {in.c});
    return block;
  }

  void initialise(const Block& block, Random&, std::span<float> parameters,
                  std::span<float> statistics) const override {
    for (std::int64_t c = 0; c < block.m; ++c) {
      parameters[c] = initial_scale_;
      parameters[block.m + c] = 0;
      statistics[c] = 0;
      statistics[block.m + c] = 1;
    }
  }

  bool fuses_relu() const override { return true; }

  std::unique_ptr<LayerPlan> plan(const PlanRequest& request) const override {
    return std::make_unique<BatchNormLayerPlan>(request);
  }

 private:
  float initial_scale_;
};

}  // namespace

LayerPtr batch_norm(float initial_scale) {
  return std::make_shared<BatchNormLayer>(initial_scale);
}

}  // namespace seng
