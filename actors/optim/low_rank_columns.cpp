#include <algorithm>
#include <numeric>
#include <vector>

#include "actors/engine/bf16_product.h"
#include "actors/optim/gradient_columns.h"
#include "actors/optim/gram.h"
#include "actors/optim/tasks.h"
#include "actors/optim/workspace.h"

namespace seng {
namespace {

constexpr std::size_t kRows = 256;           // (sample, direction) pairs per GEMM, about
constexpr std::size_t kWeightColumns = 400;  // of the weight, per task of correct(); about

// Every sample is p pairs of rows, a_k (n, with a bias n+1) and g_k (m): u_i = vec(sum over k of g_k a_k^T).
class LowRankColumns final : public GradientColumns {
 public:
  LowRankColumns(const FactorShape& shape, const SampleStore& store)
      : store_(store), shape_(shape), rows_(store.count * shape.rank) {}

  // (R^T R)_ij = sum over the p x p pairs of <a_k, a_l> <g_k, g_l>, a tile of sample pairs at a time.
  void gram(double* gram, Lanes& lanes) const override {
    const Cut samples = sample_cut();
    const std::size_t blocks = samples.tasks();
    const double work = 0.5 * double(rows_) * double(rows_) * double(width() + shape_.m);
    run_tasks(lanes, blocks * (blocks + 1) / 2, work, [&](std::size_t task) {
      std::size_t row = 0;
      while ((row + 1) * (row + 2) / 2 <= task) ++row;
      gram_tile(samples, row, task - row * (row + 1) / 2, gram);
    });
  }

  // c_i = sum over k of <g_k, [gW gb] a_k>.
  void project(std::span<const float> g, double* c, Lanes& lanes) const override {
    const Cut samples = sample_cut();
    run_tasks(lanes, samples.tasks(), work(), [&](std::size_t task) {
      const std::size_t begin = samples.begin(task), rows = samples.size(task) * shape_.rank, m = shape_.m;
      float* product = Workspace::of_this_thread().floats(Workspace::kProduct, rows * m);
      if (shape_.bias) bias_products(g, begin * shape_.rank, rows, product);
      gemm(rows, m, shape_.n, 1, inputs(begin, rows), {g.data(), shape_.n, true}, shape_.bias ? 1 : 0,
           product, m);
      const MatrixOperand outer = gradients(begin, rows);
      for (std::size_t i = 0; i < samples.size(task); ++i) {
        const std::size_t at = i * shape_.rank * m;
        c[begin + i] = dot(outer.data + at, product + at, shape_.rank * m);
      }
    });
  }

  // R b = sum over samples and k of b_i g_k a_k^T: a GEMM over all rows, by runs of the weight's columns.
  // Stored as bf16, b_i g_k is rounded to bf16 as well: 2^-9 of R b, where cutting the factors left out a
  // tenth of it.
  double correct(std::span<const float> g, const double* b, double inverse_lambda, std::span<float> d,
                 Lanes& lanes) const override {
    const std::size_t m = shape_.m, n = shape_.n;
    const Weighted weighted = narrow() ? weighted_pairs(b) : weighted_rows(b);
    const Cut columns = even_cut(n, kWeightColumns, 16);
    std::vector<double> inner(columns.tasks());
    run_tasks(lanes, columns.tasks(), work(), [&](std::size_t task) {
      const std::size_t begin = columns.begin(task), count = columns.size(task);
      times_inputs(weighted, begin, count, d.data() + begin, n);
      for (std::size_t o = 0; o < m; ++o) {
        const std::size_t at = o * n + begin;
        inner[task] += finish_direction(g.data() + at, inverse_lambda, d.data() + at, count);
      }
    });
    double sum = std::accumulate(inner.begin(), inner.end(), 0.0);
    if (!shape_.bias) return sum;
    times_inputs(weighted, n, 1, d.data() + m * n, 1);
    return sum + finish_direction(g.data() + m * n, inverse_lambda, d.data() + m * n, m);
  }

 private:
  // All b_i g_k, in this thread's workspace: as rows of floats, or in pairs of rows of bf16.
  struct Weighted {
    const float* rows = nullptr;
    const Bf16* pairs = nullptr;
  };

  Weighted weighted_rows(const double* b) const {
    const std::size_t values = shape_.rank * shape_.m;
    float* scaled = Workspace::of_this_thread().floats(Workspace::kScaled, rows_ * shape_.m);
    for (std::size_t i = 0; i < store_.count; ++i) {
      const float weight = float(b[i]);
      const float* in = store_.second.f32() + i * values;
      for (std::size_t k = 0; k < values; ++k) scaled[i * values + k] = weight * in[k];
    }
    return {scaled, nullptr};
  }

  Weighted weighted_pairs(const double* b) const {
    const std::size_t m = shape_.m, size = paired_size(rows_, m);
    Workspace& workspace = Workspace::of_this_thread();
    auto* pairs = reinterpret_cast<Bf16*>(workspace.floats(Workspace::kScaled, (size + 1) / 2));
    for (std::size_t r = 0; r < rows_; r += 2) {
      const bool both = r + 1 < rows_;
      const float* rows = store_.second.floats(r * m, (both ? 2 : 1) * m);
      const float odd_weight = both ? float(b[(r + 1) / shape_.rank]) : 0.0f;
      put_pair(rows, float(b[r / shape_.rank]), both ? rows + m : nullptr, odd_weight, m, pairs + r * m);
    }
    return {nullptr, pairs};
  }

  // out (m x count, ld) = what was weighted, transposed, times `count` columns of the inputs.
  void times_inputs(const Weighted& weighted, std::size_t begin, std::size_t count, float* out,
                    std::size_t ld) const {
    if (weighted.pairs != nullptr)
      return multiply_pairs(shape_.m, count, rows_, weighted.pairs, store_.first.bf16() + begin, width(), out,
                            ld);
    multiply_stored(shape_.m, {weighted.rows, shape_.m, true}, store_.first, begin, width(), rows_, count,
                    out, ld);
  }

  bool narrow() const { return store_.first.precision() == Precision::kBf16; }

  void gram_tile(const Cut& samples, std::size_t row, std::size_t column, double* gram) const {
    const std::size_t i0 = samples.begin(row), ni = samples.size(row), j0 = samples.begin(column),
                      nj = samples.size(column), p = shape_.rank, wi = ni * p, wj = nj * p;
    Workspace& workspace = Workspace::of_this_thread();
    float* a = workspace.floats(Workspace::kProduct, wi * wj);
    float* b = workspace.floats(Workspace::kTile, wi * wj);
    gemm(wi, wj, width(), 1, inputs(i0, wi), transposed(inputs(j0, wj, Workspace::kWidenedToo)), 0, a, wj);
    gemm(wi, wj, shape_.m, 1, gradients(i0, wi), transposed(gradients(j0, wj, Workspace::kWidenedToo)), 0, b,
         wj);
    put_block_products({i0, ni, j0, nj}, p, a, b, gram, store_.count);
  }

  // product (rows x m) = the last entry of each a_k times gb.
  void bias_products(std::span<const float> g, std::size_t first, std::size_t rows, float* product) const {
    const float* bias = g.data() + shape_.m * shape_.n;
    for (std::size_t r = 0; r < rows; ++r) {
      float one = 0;
      store_.first.read((first + r) * width() + shape_.n, &one, 1);
      for (std::size_t o = 0; o < shape_.m; ++o) product[r * shape_.m + o] = one * bias[o];
    }
  }

  std::size_t width() const { return shape_.n + (shape_.bias ? 1 : 0); }
  // `rows` (sample, direction) pairs from a sample's first.
  MatrixOperand inputs(std::size_t sample, std::size_t rows,
                       Workspace::Slot slot = Workspace::kWidened) const {
    return store_.first.panel(sample * shape_.rank * width(), width(), rows, width(), slot);
  }
  MatrixOperand gradients(std::size_t sample, std::size_t rows,
                          Workspace::Slot slot = Workspace::kWidened) const {
    return store_.second.panel(sample * shape_.rank * shape_.m, shape_.m, rows, shape_.m, slot);
  }
  static MatrixOperand transposed(const MatrixOperand& rows) { return {rows.data, rows.ld, true}; }
  Cut sample_cut() const { return {store_.count, std::max<std::size_t>(1, kRows / shape_.rank)}; }
  double work() const { return double(rows_) * double(shape_.m) * double(shape_.n); }

  const SampleStore& store_;
  const FactorShape shape_;
  const std::size_t rows_;
};

}  // namespace

std::unique_ptr<GradientColumns> low_rank_columns(const FactorShape& shape, const SampleStore& store) {
  return std::make_unique<LowRankColumns>(shape, store);
}

}  // namespace seng
