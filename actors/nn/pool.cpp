#include "actors/nn/layers.h"

namespace seng {
namespace {

class PoolLayerPlan final : public LayerPlan {
 public:
  PoolLayerPlan(const PlanRequest& request, PoolPlan plan) : input_(request.inputs[0]) {
    plan.input = input_;
    plan.training = request.training;
    pool_ = request.backend.plan_pool(plan);
    output_ = pool_->output();
  }

  LayoutPtr input() const override { return input_; }
  LayoutPtr output() const override { return output_; }
  std::size_t workspace_bytes() const override { return pool_->workspace_bytes(); }

  void forward(const Pass& pass) override { pool_->forward(pass.x[0], pass.workspace, pass.y); }
  void input_gradient(const Pass& pass) override {
    if (pass.dx != nullptr) pool_->backward(pass.dy, pass.workspace, pass.dx);
  }

 private:
  LayoutPtr input_, output_;
  std::unique_ptr<Pool> pool_;
};

class PoolLayer final : public Layer {
 public:
  PoolLayer(PoolKind kind, bool global, const PoolOptions& options)
      : kind_(kind), global_(global), options_(options) {}

  Result<TensorShape> output(std::span<const TensorShape> inputs) const override {
    SENG_TRY(expect_inputs("pooling", inputs, 1));
    const TensorShape in = inputs[0];
    if (global_) return TensorShape{1, in.c};
    const PoolOptions& o = options_;
    if (o.kernel < 1 || o.stride < 1 || o.padding < 0 || 2 * o.padding > o.kernel) {
      return fail(ErrorCode::kInvalidArgument,
                  "pooling needs kernel and stride >= 1 and padding between 0 and half of the kernel");
    }
    const int height = in.h + 2 * o.padding - o.kernel, width = in.w + 2 * o.padding - o.kernel;
    if (height < 0 || width < 0) {
      return fail(ErrorCode::kInvalidArgument, "a pooling window of " + std::to_string(o.kernel) +
                                                   " does not fit an input of " + std::to_string(in.h) + "x" +
                                                   std::to_string(in.w));
    }
    return TensorShape{1, in.c, height / o.stride + 1, width / o.stride + 1};
  }

  std::unique_ptr<LayerPlan> plan(const PlanRequest& request) const override {
    PoolPlan plan{kind_, nullptr, options_.kernel, options_.kernel, options_.stride, options_.padding};
    if (global_) {
      const TensorShape in = request.inputs[0]->shape();
      plan.kernel_h = in.h;
      plan.kernel_w = in.w;
      plan.stride = 1;
      plan.padding = 0;
    }
    return std::make_unique<PoolLayerPlan>(request, plan);
  }

 private:
  PoolKind kind_;
  bool global_;
  PoolOptions options_;
};

// To a size that divides the input's, so that the windows neither overlap nor differ: an ordinary average
// pooling, or nothing at all.
class AdaptiveAveragePoolLayer final : public Layer {
 public:
  explicit AdaptiveAveragePoolLayer(int size) : size_(size) {}

  Result<TensorShape> output(std::span<const TensorShape> inputs) const override {
    SENG_TRY(expect_inputs("adaptive pooling", inputs, 1));
    const TensorShape in = inputs[0];
    if (size_ < 1) return fail(ErrorCode::kInvalidArgument, "adaptive pooling needs a size >= 1");
    const std::string size = std::to_string(size_);
    if (in.h != in.w || in.h % size_ != 0) {
      return fail(ErrorCode::kUnsupported,
                  "adaptive pooling from " + std::to_string(in.h) + "x" + std::to_string(in.w) + " to " +
                      size + "x" + size + " is not offered; both sides must be the same multiple of " + size);
    }
    return TensorShape{1, in.c, size_, size_};
  }

  std::unique_ptr<LayerPlan> plan(const PlanRequest& request) const override {
    const int window = request.inputs[0]->shape().h / size_;
    if (window == 1) return identity_plan(request.inputs[0], request.inputs[0]);
    return std::make_unique<PoolLayerPlan>(request,
                                           PoolPlan{PoolKind::kAverage, nullptr, window, window, window, 0});
  }

 private:
  int size_;
};

}  // namespace

LayerPtr max_pool(const PoolOptions& options) {
  return std::make_shared<PoolLayer>(PoolKind::kMax, false, options);
}
LayerPtr average_pool(const PoolOptions& options) {
  return std::make_shared<PoolLayer>(PoolKind::kAverage, false, options);
}
LayerPtr global_average_pool() {
  return std::make_shared<PoolLayer>(PoolKind::kAverage, true, PoolOptions{});
}
LayerPtr adaptive_average_pool(int size) {
  return std::make_shared<AdaptiveAveragePoolLayer>(size);
}

}  // namespace seng
