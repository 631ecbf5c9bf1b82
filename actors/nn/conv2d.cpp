#include "actors/nn/initialise.h"
#include "actors/nn/layers.h"

namespace seng {
namespace {

class Conv2dPlan final : public LayerPlan {
 public:
  explicit Conv2dPlan(const PlanRequest& request)
      : backend_(request.backend),
        weight_count_(request.block->parameters[0].count),
        bias_(request.block->bias),
        batch_(request.batch),
        convolution_(
            backend_.plan_convolution({request.block->conv, request.batch, bias_, request.direct_convolution,
                                       request.training, request.input_gradient})),
        input_(convolution_->input()),
        output_(convolution_->output()) {
    packed_ = static_cast<float*>(backend_.allocate(convolution_->packed_bytes()));
    if (bias_) bias_values_ = static_cast<float*>(backend_.allocate(request.block->m * sizeof(float)));
  }

  LayoutPtr input() const override { return input_; }
  LayoutPtr output() const override { return output_; }
  bool keeps_input() const override { return true; }

  void load(const float* parameters, const float*, Memory where) override {
    convolution_->pack(parameters, packed_, where);
    if (bias_)
      backend_.upload(parameters + weight_count_, bias_values_, output_->shape().c * sizeof(float), where);
  }

  void forward(const Pass& pass) override { convolution_->forward(pass.x[0], packed_, bias_values_, pass.y); }

  void parameter_gradient(const Pass& pass, float* gradient, float*) override {
    convolution_->backward_weights(pass.x[0], pass.dy, gradient, bias_ ? gradient + weight_count_ : nullptr);
  }

  void input_gradient(const Pass& pass) override {
    if (pass.dx != nullptr) convolution_->backward_data(pass.dy, packed_, pass.dx);
  }

  std::size_t plan_factors(int samples) override {
    factor_samples_ = samples;
    const auto plan = [&](const LayoutPtr& layout, std::unique_ptr<Reorder>& reorder) -> std::size_t {
      reorder.reset();
      if (layout->plain()) return 0;
      reorder = backend_.plan_reorder(layout, backend_.plain(layout->shape()), samples);
      return layout->shape().count() / batch_ * samples;
    };
    input_floats_ = plan(input_, input_reorder_);
    output_floats_ = plan(output_, output_reorder_);
    return input_floats_ + output_floats_;
  }

  SampleFactors factors(const Pass& pass, float* memory) override {
    SampleFactors result{factor_samples_, pass.x[0], pass.dy};
    if (input_reorder_) {
      input_reorder_->run(pass.x[0], memory);
      result.activations = memory;
    }
    if (output_reorder_) {
      output_reorder_->run(pass.dy, memory + input_floats_);
      result.gradients = memory + input_floats_;
    }
    return result;
  }

 private:
  Backend& backend_;
  std::size_t weight_count_;
  bool bias_;
  int batch_;
  std::unique_ptr<Convolution> convolution_;
  LayoutPtr input_, output_;
  float* packed_ = nullptr;
  float* bias_values_ = nullptr;
  int factor_samples_ = 0;
  std::size_t input_floats_ = 0, output_floats_ = 0;
  std::unique_ptr<Reorder> input_reorder_, output_reorder_;
};

class Conv2d final : public Layer {
 public:
  explicit Conv2d(const Conv2dOptions& options) : options_(options) {}

  Result<TensorShape> output(std::span<const TensorShape> inputs) const override {
    SENG_TRY(expect_inputs("conv2d", inputs, 1));
    const Conv2dOptions& o = options_;
    if (o.groups != 1) {
      return fail(ErrorCode::kUnsupported, "grouped convolution (groups = " + std::to_string(o.groups) +
                                               ") is not offered; use groups = 1");
    }
    if (o.channels < 1 || o.kernel_h < 1 || o.kernel_w < 1 || o.stride < 1 || o.padding < 0) {
      return fail(ErrorCode::kInvalidArgument,
                  "conv2d needs channels, kernel and stride >= 1 and padding >= 0");
    }
    if (o.padding >= o.kernel_h || o.padding >= o.kernel_w) {
      return fail(ErrorCode::kInvalidArgument, "conv2d's padding must be smaller than its kernel");
    }
    const TensorShape in = inputs[0];
    const int height = in.h + 2 * o.padding - o.kernel_h, width = in.w + 2 * o.padding - o.kernel_w;
    if (height < 0 || width < 0) {
      return fail(ErrorCode::kInvalidArgument, "a " + std::to_string(o.kernel_h) + "x" +
                                                   std::to_string(o.kernel_w) +
                                                   " convolution does not fit an input of " +
                                                   std::to_string(in.h) + "x" + std::to_string(in.w));
    }
    return TensorShape{1, o.channels, height / o.stride + 1, width / o.stride + 1};
  }

  std::optional<Block> block(const std::string& name, const TensorShape& in,
                             const TensorShape& out) const override {
    Block block;
    block.name = name;
    block.kind = BlockKind::kConvolution;
    block.m = out.c;
    block.n = std::int64_t{in.c} * options_.kernel_h * options_.kernel_w;
    block.positions = std::int64_t{out.h} * out.w;
    block.bias = options_.bias;
    block.conv = {in.c,
                  in.h,
                  in.w,
                  out.c,
                  out.h,
                  out.w,
                  options_.kernel_h,
                  options_.kernel_w,
                  options_.stride,
                  options_.padding};
    append_tensor(block.parameters, block.count, name + ".weight",
                  {out.c, in.c, options_.kernel_h, options_.kernel_w});
    if (options_.bias) append_tensor(block.parameters, block.count, name + ".bias", {out.c});
    return block;
  }

  void initialise(const Block& block, Random& random, std::span<float> parameters,
                  std::span<float>) const override {
    const auto weight = parameters.first(block.parameters[0].count);
    const int fan_in = static_cast<int>(block.n);
    const auto bias = parameters.subspan(weight.size());
    if (options_.initialisation == WeightInitialisation::kDefault) {
      fill_uniform(random, fan_in, weight);
      fill_uniform(random, fan_in, bias);
      return;
    }
    fill_kaiming_normal(random, static_cast<int>(block.m) * options_.kernel_h * options_.kernel_w, weight);
    std::fill(bias.begin(), bias.end(), 0.0f);
  }

  std::unique_ptr<LayerPlan> plan(const PlanRequest& request) const override {
    return std::make_unique<Conv2dPlan>(request);
  }

 private:
  Conv2dOptions options_;
};

}  // namespace

LayerPtr conv2d(const Conv2dOptions& options) {
  return std::make_shared<Conv2d>(options);
}

}  // namespace seng
