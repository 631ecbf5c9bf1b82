#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "actors/engine/cpu/cpu_backend.h"
#include "actors/engine/linalg.h"

namespace seng::cpu {
namespace {

constexpr std::size_t kDepth = 2048;  // columns added in float

// The optimizer's own kernels use all lanes (actors/optim); this is the judge of other backends'.
class CpuSamples final : public Samples {
 public:
  explicit CpuSamples(const SamplesPlan& plan)
      : plan_(plan), first_(plan.rows() * plan.width()), second_(plan.second_floats()) {}

  void put(const float* first, const float* second) override {
    if (plan_.convolution) return put_rows(*plan_.convolution, first, second);
    std::copy_n(first, first_.size(), first_.data());
    std::copy_n(second, second_.size(), second_.data());
  }

  void put_bf16(const Bf16* first, const Bf16* second) override {
    std::vector<float> inputs(plan_.first_floats()), gradients(plan_.second_floats());
    widen(first, inputs.data(), inputs.size());
    if (!gradients.empty()) widen(second, gradients.data(), gradients.size());
    put(inputs.data(), gradients.data());
  }

  void set_buckets(const SampleBuckets& buckets) override { buckets_ = buckets; }

  void gram(double* gram) override {
    const std::size_t rows = plan_.rows();
    std::vector<double> inputs(rows * rows);
    add_products(first_.data(), plan_.width(), inputs);
    if (plan_.factors == 0) {
      std::copy(inputs.begin(), inputs.end(), gram);
      return;
    }
    std::vector<double> outputs(rows * rows);
    add_products(second_.data(), plan_.m, outputs);
    const std::size_t p = plan_.factors;
    std::fill_n(gram, plan_.samples * plan_.samples, 0.0);
    for (std::size_t i = 0; i < rows; ++i)
      for (std::size_t j = 0; j < rows; ++j)
        gram[i / p * plan_.samples + j / p] += inputs[i * rows + j] * outputs[i * rows + j];
  }

  void project(const float* g, double* c) override {
    const std::size_t width = plan_.width();
    if (plan_.factors == 0) return row_dots(first_.data(), width, plan_.samples, width, g, c);
    const std::size_t rows = plan_.rows(), m = plan_.m, each = plan_.factors * m;
    std::vector<float> product(rows * m);
    gemm(rows, m, plan_.n, 1, {first_.data(), width, false}, {g, plan_.n, true}, 0, product.data(), m);
    if (plan_.bias)
      gemm(rows, m, 1, 1, {first_.data() + plan_.n, width, false}, {g + m * plan_.n, 1, true}, 1,
           product.data(), m);
    for (std::size_t i = 0; i < plan_.samples; ++i)
      c[i] = dot(second_.data() + i * each, product.data() + i * each, each);
  }

  void correct(const float* g, const double* b, double inverse_lambda, float* d) override {
    const std::vector<float> weights(b, b + plan_.samples);
    const std::size_t width = plan_.width(), m = plan_.m;
    std::fill_n(d, plan_.parameters, 0.0f);
    if (buckets_) {
      add_buckets(b, d);
    } else if (plan_.factors == 0) {
      add_weighted_rows(first_.data(), width, plan_.samples, width, weights.data(), d);
    } else {
      std::vector<float> scaled(second_.data(), second_.data() + second_.size());
      for (std::size_t i = 0; i < scaled.size(); ++i) scaled[i] *= weights[i / (plan_.factors * m)];
      gemm(m, plan_.n, plan_.rows(), 1, {scaled.data(), m, true}, {first_.data(), width, false}, 0, d,
           plan_.n);
      if (plan_.bias)
        gemm(m, 1, plan_.rows(), 1, {scaled.data(), m, true}, {first_.data() + plan_.n, width, false}, 0,
             d + m * plan_.n, 1);
    }
    for (std::size_t i = 0; i < plan_.parameters; ++i)
      d[i] = static_cast<float>((double(g[i]) - d[i]) * inverse_lambda);
  }

  SampleSystem form_system(double lambda, std::size_t workers) override {
    const std::size_t n = plan_.samples, own = n / workers;
    std::vector<double> k(n * n);
    gram(k.data());
    for (std::size_t i = 0; i < n; ++i) {
      for (std::size_t j = 0; j <= i; ++j) {
        if (!std::isfinite(k[i * n + j])) return {.overflow = SampleSystem::Entry{i, j}};
        k[i * n + j] = i / own == j / own ? k[i * n + j] / double(own) : 0;
      }
      k[i * n + i] += lambda;
    }
    if (!cholesky(k.data(), n)) return {};
    factor_ = std::move(k);
    return {.formed = true};
  }

  void solve(const float* g, Memory) override {
    b_.resize(plan_.samples);
    project(g, b_.data());
    cholesky_solve(factor_.data(), plan_.samples, b_.data());
    for (double& weight : b_) weight /= double(plan_.samples);
  }

  void correct_by(const float* g, const Samples& solved, double inverse_lambda, float* d, Memory) override {
    correct(g, static_cast<const CpuSamples&>(solved).b_.data(), inverse_lambda, d);
  }

  void precondition(const float* g, double inverse_lambda, float* d, Memory where) override {
    solve(g, where);
    correct_by(g, *this, inverse_lambda, d, where);
  }

  std::size_t bytes() const override { return (first_.size() + second_.size()) * sizeof(float); }

 private:
  // A convolution's samples as the rows that its positions are.
  void put_rows(const ConvolutionGeometry& g, const float* images, const float* gradients) {
    const std::size_t kernel = std::size_t(g.kernel_h) * std::size_t(g.kernel_w), kappa = plan_.factors;
    for (std::size_t row = 0; row < plan_.rows(); ++row) {
      const std::size_t sample = row / kappa, position = row % kappa;
      const int top = int(position) / g.width_out * g.stride - g.padding,
                left = int(position) % g.width_out * g.stride - g.padding;
      for (std::size_t j = 0; j < plan_.n; ++j) {
        const int y = top + int(j % kernel) / g.kernel_w, x = left + int(j % kernel) % g.kernel_w;
        const bool inside = y >= 0 && y < g.height_in && x >= 0 && x < g.width_in;
        const std::size_t plane = sample * std::size_t(g.channels_in) + j / kernel;
        first_.data()[row * plan_.width() + j] =
            inside ? images[(plane * std::size_t(g.height_in) + std::size_t(y)) * std::size_t(g.width_in) +
                            std::size_t(x)]
                   : 0;
      }
      if (plan_.bias) first_.data()[row * plan_.width() + plan_.n] = 1;
      for (std::size_t o = 0; o < plan_.m; ++o)
        second_.data()[row * plan_.m + o] = gradients[(sample * plan_.m + o) * kappa + position];
    }
  }

  // d = R b by the estimate, in double.
  void add_buckets(const double* b, float* d) const {
    const std::size_t width = plan_.width(), m = plan_.m, n = plan_.n, p = plan_.factors;
    const std::vector<float> x = buckets_->x(b, plan_.samples), y = buckets_->y(b, plan_.samples);
    std::vector<double> of_a(buckets_->count * width), of_g(buckets_->count * m);
    for (std::size_t row = 0; row < plan_.rows(); ++row) {
      const std::size_t bucket = buckets_->of_pair[row];
      const double sign = buckets_->sign[row];
      for (std::size_t j = 0; j < width; ++j)
        of_a[bucket * width + j] += sign * x[row / p] * first_.data()[row * width + j];
      for (std::size_t o = 0; o < m; ++o)
        of_g[bucket * m + o] += sign * y[row / p] * second_.data()[row * m + o];
    }
    for (std::size_t o = 0; o < m; ++o) {
      for (std::size_t j = 0; j < width; ++j) {
        double sum = 0;
        for (std::size_t r = 0; r < buckets_->count; ++r) sum += of_g[r * m + o] * of_a[r * width + j];
        d[j < n ? o * n + j : m * n + o] = static_cast<float>(sum);
      }
    }
  }

  void add_products(const float* values, std::size_t width, std::vector<double>& out) const {
    const std::size_t rows = plan_.rows();
    std::vector<float> part(rows * rows);
    for (std::size_t k = 0; k < width; k += kDepth) {
      const MatrixOperand all{values + k, width, false};
      gemm(rows, rows, std::min(kDepth, width - k), 1, all, {all.data, all.ld, true}, 0, part.data(), rows);
      for (std::size_t i = 0; i < out.size(); ++i) out[i] += part[i];
    }
  }

  SamplesPlan plan_;
  std::optional<SampleBuckets> buckets_;
  AlignedBuffer<float> first_, second_;
  std::vector<double> factor_, b_;  // of form_system() and solve()
};

}  // namespace

std::unique_ptr<Samples> CpuBackend::plan_samples(const SamplesPlan& plan) {
  return std::make_unique<CpuSamples>(plan);
}

}  // namespace seng::cpu
