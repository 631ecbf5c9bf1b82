#include <algorithm>
#include <vector>

#include "actors/engine/cpu/cpu_backend.h"
#include "actors/engine/linalg.h"

namespace seng::cpu {
namespace {

// The optimizer's own kernels use all lanes (actors/optim); this is the judge of other backends', plainly and
// in double where they are in float.
class CpuKroneckerSums final : public KroneckerSums {
 public:
  explicit CpuKroneckerSums(const KroneckerPlan& plan) : plan_(plan) {}

  void sum(std::size_t samples, const float* inputs, const float* gradients, float* a, float* g) override {
    clear();
    add(samples, inputs, gradients);
    std::copy(a_.begin(), a_.end(), a);
    std::copy(g_.begin(), g_.end(), g);
  }

  void fold(const KroneckerArrivals& arrived, const KroneckerMeans& before, float* a, float* g) override {
    clear();
    if (!arrived.sums) add(arrived.samples, arrived.first, arrived.second);
    for (std::size_t i = 0; arrived.sums && i < arrived.count; ++i) {
      for (std::size_t j = 0; j < a_.size(); ++j) a_[j] += arrived.first[i * a_.size() + j];
      for (std::size_t j = 0; j < g_.size(); ++j) g_[j] += arrived.second[i * g_.size() + j];
    }
    const double count = double(arrived.samples);
    blend(a_, count, before.retained, before.a, a);
    blend(g_, count * double(plan_.positions), before.retained, before.g, g);
  }

 private:
  void clear() {
    a_.assign(plan_.packed_a(), 0);
    g_.assign(plan_.packed_g(), 0);
  }

  static void blend(const std::vector<double>& sums, double count, double retained, const float* before,
                    float* mean) {
    for (std::size_t i = 0; i < sums.size(); ++i) {
      const double now = sums[i] / count;
      mean[i] = float(before == nullptr ? now : retained * before[i] + (1 - retained) * now);
    }
  }

  static void add_square(const std::vector<float>& column, std::vector<double>& sums) {
    for (std::size_t i = 0, at = 0; i < column.size(); ++i)
      for (std::size_t j = 0; j <= i; ++j) sums[at++] += double(column[i]) * column[j];
  }

  void add(std::size_t samples, const float* inputs, const float* gradients) {
    std::vector<float> input(plan_.n), output(plan_.m);
    for (std::size_t i = 0; i < samples; ++i) {
      for (std::size_t k = 0; k < plan_.positions; ++k) {
        for (std::size_t j = 0; j < plan_.weights(); ++j)
          input[j] = input_at(inputs + i * plan_.input_floats(), k, j);
        if (plan_.bias) input.back() = 1;
        for (std::size_t o = 0; o < plan_.m; ++o)
          output[o] = gradients[(i * plan_.m + o) * plan_.positions + k];
        add_square(input, a_);
        add_square(output, g_);
      }
    }
  }

  // Of what the weight's column j is multiplied by at a position.
  float input_at(const float* input, std::size_t position, std::size_t j) const {
    if (!plan_.convolution) return input[j];
    const ConvolutionGeometry& g = *plan_.convolution;
    const std::size_t kernel = std::size_t(g.kernel_h) * std::size_t(g.kernel_w);
    const int y = int(position) / g.width_out * g.stride - g.padding + int(j % kernel) / g.kernel_w;
    const int x = int(position) % g.width_out * g.stride - g.padding + int(j % kernel) % g.kernel_w;
    if (y < 0 || y >= g.height_in || x < 0 || x >= g.width_in) return 0;
    return input[(j / kernel * std::size_t(g.height_in) + std::size_t(y)) * std::size_t(g.width_in) +
                 std::size_t(x)];
  }

  KroneckerPlan plan_;
  std::vector<double> a_, g_;
};

class CpuKroneckerInverse final : public KroneckerInverse {
 public:
  explicit CpuKroneckerInverse(const KroneckerPlan& plan) : plan_(plan) {}

  bool decompose(const float* a, const float* g) override {
    return decompose(a, plan_.n, vectors_a_, values_a_) && decompose(g, plan_.m, vectors_g_, values_g_);
  }

  void precondition(const float* g, double lambda, float* d, Memory) override {
    const std::size_t m = plan_.m, n = plan_.n;
    std::vector<double> rotated = rotate(g);
    for (std::size_t o = 0; o < m; ++o)
      for (std::size_t j = 0; j < n; ++j) rotated[o * n + j] /= values_g_[o] * values_a_[j] + lambda;
    std::vector<double> half(m * n), out(m * n);
    for (std::size_t k = 0; k < m; ++k)
      for (std::size_t o = 0; o < m; ++o)
        for (std::size_t l = 0; l < n; ++l) half[o * n + l] += vectors_g_[k * m + o] * rotated[k * n + l];
    for (std::size_t o = 0; o < m; ++o)
      for (std::size_t l = 0; l < n; ++l)
        for (std::size_t j = 0; j < n; ++j) out[o * n + j] += half[o * n + l] * vectors_a_[l * n + j];
    for (std::size_t i = 0; i < out.size(); ++i) d[place(i / n, i % n)] = float(out[i]);
  }

  double curvature_along(const float* v) override {
    const std::vector<double> rotated = rotate(v);
    double sum = 0;
    for (std::size_t i = 0; i < rotated.size(); ++i)
      sum += values_g_[i / plan_.n] * values_a_[i % plan_.n] * rotated[i] * rotated[i];
    return sum;
  }

  std::size_t bytes() const override {
    return (vectors_a_.size() + vectors_g_.size() + values_a_.size() + values_g_.size()) * sizeof(double);
  }

 private:
  static bool decompose(const float* packed, std::size_t n, std::vector<double>& vectors,
                        std::vector<double>& values) {
    vectors.assign(n * n, 0);
    values.assign(n, 0);
    for (std::size_t i = 0; i < n; ++i)
      for (std::size_t j = 0; j <= i; ++j) vectors[i * n + j] = *packed++;
    if (!symmetric_eigen(vectors.data(), n, values.data())) return false;
    for (double& value : values) value = std::max(value, 0.0);
    return true;
  }

  // Where entry (o, j) of the gradient matrix lies: the bias' column is behind the weight.
  std::size_t place(std::size_t o, std::size_t j) const {
    return j < plan_.weights() ? o * plan_.weights() + j : plan_.m * plan_.weights() + o;
  }

  // Q_G^T g Q_A
  std::vector<double> rotate(const float* g) const {
    const std::size_t m = plan_.m, n = plan_.n;
    std::vector<double> half(m * n), out(m * n);
    for (std::size_t k = 0; k < m; ++k)
      for (std::size_t o = 0; o < m; ++o)
        for (std::size_t j = 0; j < n; ++j) half[k * n + j] += vectors_g_[k * m + o] * g[place(o, j)];
    for (std::size_t k = 0; k < m; ++k)
      for (std::size_t l = 0; l < n; ++l)
        for (std::size_t j = 0; j < n; ++j) out[k * n + l] += half[k * n + j] * vectors_a_[l * n + j];
    return out;
  }

  KroneckerPlan plan_;
  std::vector<double> vectors_a_, vectors_g_, values_a_, values_g_;  // eigenvectors as rows
};

}  // namespace

std::unique_ptr<KroneckerSums> CpuBackend::plan_kronecker_sums(const KroneckerPlan& plan) {
  return std::make_unique<CpuKroneckerSums>(plan);
}
std::unique_ptr<KroneckerInverse> CpuBackend::plan_kronecker_inverse(const KroneckerPlan& plan) {
  return std::make_unique<CpuKroneckerInverse>(plan);
}

}  // namespace seng::cpu
