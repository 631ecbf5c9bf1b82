#include <algorithm>

#include "actors/engine/cuda/device_samples.h"

namespace seng::cuda {
namespace {

// Whole gradients, or their factors as they are.
class CublasSamples final : public DeviceSamples {
 public:
  CublasSamples(CudaBackend& backend, const SamplesPlan& plan)
      : DeviceSamples(backend, plan, plan.first_floats(), plan.second_floats()) {
    const std::size_t p = std::max<std::size_t>(plan.factors, 1);
    tile_ = std::clamp<std::size_t>(kTileRows / p, 1, plan.samples);
    product_ = aside(plan.second_floats());
    part_ = aside(plan.samples);
    columns_ = std::clamp<std::size_t>(plan.run_floats / (tile_ * p * p), 1, plan.samples);
    plan_products(tile_ * p, columns_ * p, plan.factors > 0);
    plan_step();
    reserve_work();
  }

  void put(const float* inputs, const float* gradients) override { put_values(inputs, gradients); }
  void put_bf16(const Bf16* inputs, const Bf16* gradients) override { put_values(inputs, gradients); }

 private:
  template <class Value>
  void put_values(const Value* inputs, const Value* gradients) {
    backend().enter();
    bring(inputs, first(), plan().first_floats());
    if (plan().factors > 0) bring(gradients, second(), plan().second_floats());
  }

  // A tile of samples against all before its end, as many at a time as there is room for: nothing grows with
  // the square of the factors' rows.
  void add_gram(double* gram) override {
    const std::size_t n = plan().samples, p = plan().factors, width = plan().width();
    for (std::size_t i = 0; i < n; i += tile_) {
      const std::size_t rows = std::min(tile_, n - i);
      for (std::size_t j = 0; j < i + rows; j += columns_) {
        const std::size_t columns = std::min(columns_, i + rows - j);
        double* out = gram + i * n + j;
        if (p == 0) {
          add_products({first() + i * width, width}, rows, {first() + j * width, width}, columns, width, out,
                       n);
        } else {
          put_factor_products(factors(i, rows), factors(j, columns), out, n);
        }
      }
    }
  }

  void project_there(const float* g, double* c) override {
    const std::size_t n = plan().samples, m = plan().m;
    if (plan().factors == 0) {
      // c = R g, in runs of columns.
      SENG_CUDA(cudaMemsetAsync(c, 0, n * sizeof(double), stream()));
      for (std::size_t k = 0; k < plan().width(); k += kDepth) {
        const std::size_t depth = std::min(kDepth, plan().width() - k);
        gemv(CUBLAS_OP_T, depth, n, 1, first() + k, plan().width(), g + k, 1, 0, at(part_));
        SENG_CUDA_LAUNCH(launch_add_to(stream(), at(part_), c, 1, n, n));
      }
      return;
    }
    // The rows of [a_k^T W^T], then their inner products with g_k.
    gemm(CUBLAS_OP_T, CUBLAS_OP_N, m, plan().rows(), plan().n, 1, {g, plan().n}, {first(), plan().width()}, 0,
         at(product_), m);
    if (plan().bias)
      gemm(CUBLAS_OP_N, CUBLAS_OP_N, m, plan().rows(), 1, 1, {g + m * plan().n, m},
           {first() + plan().n, plan().width()}, 1, at(product_), m);
    SENG_CUDA_LAUNCH(launch_row_dots(stream(), second(), at(product_), n, plan().factors * m, c));
  }

  void correct_exactly(const float* weights, float scale, float* out) override {
    const std::size_t m = plan().m, n = plan().n, width = plan().width();
    if (plan().factors == 0)
      return gemv(CUBLAS_OP_N, width, plan().samples, -scale, first(), width, weights, 1, scale, out);
    SENG_CUDA_LAUNCH(
        launch_scale_rows(stream(), second(), weights, at(product_), plan().samples, plan().factors * m));
    gemm(CUBLAS_OP_N, CUBLAS_OP_T, n, m, plan().rows(), -scale, {first(), width}, {at(product_), m}, scale,
         out, n);
    if (plan().bias)
      gemv(CUBLAS_OP_N, m, plan().rows(), -scale, at(product_), m, first() + n, width, scale, out + m * n);
  }

  Factors factors(std::size_t begin, std::size_t count) override {
    const std::size_t row = begin * plan().factors;
    return {first() + row * plan().width(), second() + row * plan().m, count};
  }
  std::size_t run_samples() const override { return plan().samples; }
  void plan_factors() override {}

  std::size_t tile_, columns_;  // samples of a Gram matrix's products
  std::size_t product_, part_;
};

}  // namespace

std::unique_ptr<Samples> CudaBackend::plan_samples(const SamplesPlan& plan) {
  if (plan.convolution) return plan_convolution_samples(*this, plan);
  return std::make_unique<CublasSamples>(*this, plan);
}

}  // namespace seng::cuda
