#include <algorithm>

#include "actors/engine/cuda/device_samples.h"

namespace seng::cuda {
namespace {

// A convolution's samples, raw. R^T g and R b are convolutions, which cuDNN computes without unfolding
// anything: c_i is the inner product of sample i's output gradient with the convolution of its input by g,
// and R b the gradient of the weights for output gradients b_i G_i. R^T R has no such form: the inputs are
// unfolded a run at a time. In f32 whatever the backend's precision, and never Winograd.
class CudnnSamples final : public DeviceSamples {
 public:
  CudnnSamples(CudaBackend& backend, const SamplesPlan& plan)
      : DeviceSamples(backend, plan, plan.first_floats(), plan.second_floats()) {
    const ConvolutionGeometry& g = *plan.convolution;
    const std::size_t in = plan.first_floats() / plan.samples, out = plan.factors * plan.m;
    batch_ = largest_divisor(plan.samples, plan.run_floats / std::max(in, out));
    ConvolutionPlan of{.geometry = g, .batch = int(batch_), .bias = plan.bias, .direct = true};
    of.input_gradient = false;
    convolution_ = backend.plan_convolution(of, Arithmetic::kF32);
    put_input_ = reorder(convolution_->input());
    put_output_ = reorder(convolution_->output());
    const Extents input = extents_of(convolution_->input());
    unfolding_ = {input, g.height_out, g.width_out, g.kernel_h, g.kernel_w, g.stride, g.padding};
    plan_convolution(std::max(in, out));
    plan_gram();
    reserve_work();
  }

  void put(const float* inputs, const float* gradients) override { put_values(inputs, gradients); }
  void put_bf16(const Bf16* inputs, const Bf16* gradients) override { put_values(inputs, gradients); }

 private:
  template <class Value>
  void put_values(const Value* inputs, const Value* gradients) {
    backend().enter();
    put_in(inputs, plan().first_floats(), put_input_.get(), first());
    put_in(gradients, plan().second_floats(), put_output_.get(), second());
  }

  void add_gram(double* gram) override { by_pairs_ ? gram_by_pairs(gram) : gram_by_forming(gram); }

  void project_there(const float* g, double* c) override {
    const std::size_t each = plan().factors * plan().m;
    convolution_->pack(g, at(packed_), Memory::kDevice);
    for (std::size_t begin = 0; begin < plan().samples; begin += batch_) {
      convolution_->forward(input(begin), at(packed_), g + plan().m * plan().n, at(product_));
      SENG_CUDA_LAUNCH(launch_row_dots(stream(), output(begin), at(product_), batch_, each, c + begin));
    }
  }

  void correct_exactly(const float* weights, float scale, float* out) override {
    const std::size_t each = plan().factors * plan().m, count = plan().parameters;
    float* part = at(vector_);
    for (std::size_t begin = 0; begin < plan().samples; begin += batch_) {
      SENG_CUDA_LAUNCH(
          launch_scale_rows(stream(), output(begin), weights + begin, at(product_), batch_, each));
      convolution_->backward_weights(input(begin), at(product_), part, part + plan().m * plan().n);
      SENG_CUDA_LAUNCH(launch_scaled_sum(stream(), part, -scale, out, begin == 0 ? scale : 1, count));
    }
  }

  Factors factors(std::size_t begin, std::size_t count) override {
    return unfolded(begin, count, at(run_a_), at(run_g_));
  }
  std::size_t run_samples() const override {
    return std::clamp<std::size_t>(plan().run_floats / (plan().factors * plan().width()), 1, plan().samples);
  }
  void plan_factors() override {
    run_a_ = aside(run_samples() * plan().factors * plan().width());
    run_g_ = aside(run_samples() * plan().factors * plan().m);
  }

  static std::size_t largest_divisor(std::size_t of, std::size_t most) {
    std::size_t divisor = std::clamp<std::size_t>(most, 1, of);
    while (of % divisor != 0) --divisor;
    return divisor;
  }
  std::unique_ptr<Reorder> reorder(const LayoutPtr& to) {
    const LayoutPtr from = backend().plain(to->shape());
    return from->same(*to) ? nullptr : backend().plan_reorder(from, to, to->shape().n);
  }

  void plan_convolution(std::size_t largest) {
    const Extents output = extents_of(convolution_->output());
    // The convolution's own place between two kernels is the first of the slot.
    aside(std::max(plan().m * plan().n, RowChunks(output.rows()).count() * plan().m));
    product_ = aside(batch_ * largest);
    packed_ = aside(convolution_->packed_bytes() / sizeof(float));
    vector_ = aside(plan().parameters + plan().m);
    plan_step();
  }

  // The cheaper way, by the multiplications of a pair of samples, as on the CPU
  // (actors/optim/implicit_convolution_columns.cpp).
  void plan_gram() {
    const std::size_t n = plan().samples, kappa = plan().factors, width = plan().width(), m = plan().m;
    const double products = double(m) * double(plan().n), positions = double(kappa);
    by_pairs_ = positions * positions * double(m + plan().n) <= products * (1 + 2 * positions / double(n));
    if (by_pairs_) {
      tile_ = std::clamp<std::size_t>(std::min(kTileRows, plan().run_floats / width) / kappa, 1, n);
      unfolded_ = aside(2 * tile_ * kappa * width);
      formed_ = aside(2 * tile_ * kappa * m);
      plan_products(tile_ * kappa, tile_ * kappa, true);
    } else {
      tile_ = std::min(kTileRows, n);
      columns_ = std::clamp<std::size_t>(plan().run_floats / (n * m), 1, width);
      unfolded_samples_ = std::clamp<std::size_t>(plan().run_floats / (kappa * columns_), 1, n);
      unfolded_ = aside(unfolded_samples_ * kappa * columns_);
      formed_ = aside(n * m * columns_);
      plan_products(tile_, n, false);
    }
  }

  template <class Value>
  void put_in(const Value* host, std::size_t floats, Reorder* reorder, float* to) {
    if (reorder == nullptr) return bring(host, to, floats);
    const std::size_t piece = floats / plan().samples * batch_;
    for (std::size_t done = 0; done < floats; done += piece) {
      bring(host + done, at(product_), piece);
      reorder->run(at(product_), to + done);
    }
  }

  // (R^T R)_ij = <A_i^T A_j [+ 1 1^T], G_i^T G_j>, a tile of samples against another.
  void gram_by_pairs(double* gram) {
    const std::size_t n = plan().samples, a = tile_ * plan().factors * plan().width();
    const std::size_t g = tile_ * plan().factors * plan().m;
    for (std::size_t i = 0; i < n; i += tile_) {
      const Factors rows = unfolded(i, std::min(tile_, n - i), at(unfolded_), at(formed_));
      for (std::size_t j = 0; j <= i; j += tile_) {
        Factors columns = rows;
        if (j < i) columns = unfolded(j, std::min(tile_, n - j), at(unfolded_) + a, at(formed_) + g);
        put_factor_products(rows, columns, gram + i * n + j, n);
      }
    }
  }

  // Of samples [begin, begin + count); `g` is used where theirs do not lie as rows.
  Factors unfolded(std::size_t begin, std::size_t count, float* a, float* g) {
    unfold(begin, count, 0, plan().width(), a);
    if (channels_last()) return {a, output(begin), count};
    SENG_CUDA_LAUNCH(launch_transpose(stream(), {output(begin), Element::kF32}, g, Element::kF32, int(count),
                                      int(plan().m), int(plan().factors)));
    return {a, g, count};
  }

  // The samples' gradients are formed for a run of the weight's columns at a time, used for all pairs, and
  // thrown away.
  void gram_by_forming(double* gram) {
    const std::size_t n = plan().samples, width = plan().width(), m = plan().m;
    for (std::size_t begin = 0; begin < width; begin += columns_) {
      const std::size_t columns = std::min(columns_, width - begin), each = m * columns;
      for (std::size_t i = 0; i < n; i += unfolded_samples_)
        form(i, std::min(unfolded_samples_, n - i), begin, columns);
      for (std::size_t row = 0; row < n; row += tile_) {
        const std::size_t count = std::min(tile_, n - row);
        add_products({at(formed_) + row * each, each}, count, {at(formed_), each}, row + count, each,
                     gram + row * n, n);
      }
    }
  }

  // Columns [begin, begin + columns) of G_i A_i^T, [m, columns], of `count` samples.
  void form(std::size_t sample, std::size_t count, std::size_t begin, std::size_t columns) {
    const std::size_t kappa = plan().factors, m = plan().m;
    unfold(sample, count, begin, columns, at(unfolded_));
    gemm_each(channels_last() ? CUBLAS_OP_T : CUBLAS_OP_N, columns, m, kappa, {at(unfolded_), columns},
              {output(sample), channels_last() ? m : kappa}, at(formed_) + sample * m * columns, count);
  }

  void unfold(std::size_t sample, std::size_t count, std::size_t begin, std::size_t columns, float* out) {
    SENG_CUDA_LAUNCH(launch_unfold(stream(), input(sample), unfolding_, int(count), begin, columns, out));
  }

  bool channels_last() const { return extents_of(convolution_->output()).channels_last; }
  const float* input(std::size_t sample) const {
    return first() + sample * (plan().first_floats() / plan().samples);
  }
  const float* output(std::size_t sample) const { return second() + sample * plan().factors * plan().m; }

  std::size_t batch_;  // samples of one convolution
  std::unique_ptr<Convolution> convolution_;
  std::unique_ptr<Reorder> put_input_, put_output_;  // null where it lies plain
  Unfolding unfolding_;
  std::size_t product_, packed_, vector_;
  // Of the Gram matrix.
  bool by_pairs_;
  std::size_t tile_, columns_ = 0, unfolded_samples_ = 0;  // samples, columns, samples
  std::size_t unfolded_, formed_;
  std::size_t run_a_ = 0, run_g_ = 0;  // of an estimated R b
};

}  // namespace

std::unique_ptr<Samples> plan_convolution_samples(CudaBackend& backend, const SamplesPlan& plan) {
  return std::make_unique<CudnnSamples>(backend, plan);
}

}  // namespace seng::cuda
