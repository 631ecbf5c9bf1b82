#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "actors/optim/approximate_columns.h"
#include "actors/optim/factor_rows.h"
#include "actors/optim/tasks.h"

namespace seng {
namespace {

constexpr std::size_t kWeightColumns = 400;  // of the weight, per task; about

class BucketedColumns final : public ApproximateColumns {
 public:
  BucketedColumns(std::unique_ptr<GradientColumns> exact, const ApproximatedSamples& of,
                  const ProductOptions& options)
      : ApproximateColumns(std::move(exact)),
        store_(of.store),
        rows_(of.block, of.form, of.store),
        n_(std::size_t(of.block.n)),
        drawn_(draw_buckets(of, options)),
        buckets_(drawn_.count) {}

  double correct(std::span<const float> g, const double* b, double inverse_lambda, std::span<float> d,
                 Lanes& lanes) const override {
    const std::size_t m = rows_.m(), width = rows_.width();
    std::vector<float> a_sums(buckets_ * width), g_sums(buckets_ * m);
    fill(b, a_sums, g_sums);
    const Cut columns = even_cut(n_, kWeightColumns, 16);
    std::vector<double> inner(columns.tasks());
    run_tasks(lanes, columns.tasks(), double(buckets_) * double(m) * double(n_), [&](std::size_t task) {
      const std::size_t begin = columns.begin(task), count = columns.size(task);
      gemm(m, count, buckets_, 1, {g_sums.data(), m, true}, {a_sums.data() + begin, width, false}, 0,
           d.data() + begin, n_);
      for (std::size_t o = 0; o < m; ++o) {
        const std::size_t at = o * n_ + begin;
        inner[task] += finish_direction(g.data() + at, inverse_lambda, d.data() + at, count);
      }
    });
    const double sum = std::accumulate(inner.begin(), inner.end(), 0.0);
    if (width == n_) return sum;
    gemm(m, 1, buckets_, 1, {g_sums.data(), m, true}, {a_sums.data() + n_, width, false}, 0,
         d.data() + m * n_, 1);
    return sum + finish_direction(g.data() + m * n_, inverse_lambda, d.data() + m * n_, m);
  }

 private:
  void fill(const double* b, std::vector<float>& a_sums, std::vector<float>& g_sums) const {
    const std::size_t m = rows_.m(), width = rows_.width(), rank = rows_.rank();
    const std::vector<float> of_a = drawn_.x(b, store_.count), of_g = drawn_.y(b, store_.count);
    std::vector<float> a(rank * width), g(rank * m);
    for (std::size_t i = 0; i < store_.count; ++i) {
      rows_.read(i, a.data(), g.data());
      for (std::size_t k = 0; k < rank; ++k) {
        const std::size_t pair = i * rank + k, bucket = drawn_.of_pair[pair];
        const float x = drawn_.sign[pair] * of_a[i], y = drawn_.sign[pair] * of_g[i];
        float *a_sum = a_sums.data() + bucket * width, *g_sum = g_sums.data() + bucket * m;
        for (std::size_t j = 0; j < width; ++j) a_sum[j] += x * a[k * width + j];
        for (std::size_t o = 0; o < m; ++o) g_sum[o] += y * g[k * m + o];
      }
    }
  }

  const SampleStore& store_;
  const FactorRows rows_;
  std::size_t n_;
  const SampleBuckets drawn_;
  std::size_t buckets_;
};

}  // namespace

bool is_bucketed(const ApproximatedSamples& of, const ProductOptions& options) {
  return options.kind != ProductKind::kExact && of.form.representation != Representation::kExplicit;
}

SampleBuckets draw_buckets(const ApproximatedSamples& of, const ProductOptions& options) {
  const FactorRows rows(of.block, of.form, of.store);
  const std::size_t pairs = of.store.count * rows.rank();
  SampleBuckets out;
  if (options.kind == ProductKind::kAuthors) {
    out.count = rows.rank();
    out.signs_of_b = false;
    for (std::size_t i = 0; i < pairs; ++i) out.of_pair.push_back(std::uint32_t(i % rows.rank()));
    out.sign.assign(pairs, 1.0f);
    return out;
  }
  out.count = std::max<std::size_t>(1, options.buckets);
  Random random(of.key.seed, RandomPurpose::kSketch, of.key.refresh * 4 + 3, of.key.block);
  for (std::size_t i = 0; i < pairs; ++i) {
    out.of_pair.push_back(std::uint32_t(random.below(out.count)));
    out.sign.push_back(random.next_u32() & 1 ? 1.0f : -1.0f);
  }
  return out;
}

std::unique_ptr<GradientColumns> bucketed_columns(std::unique_ptr<GradientColumns> exact,
                                                  const ApproximatedSamples& of,
                                                  const ProductOptions& options) {
  if (!is_bucketed(of, options)) return exact;
  return std::make_unique<BucketedColumns>(std::move(exact), of, options);
}

}  // namespace seng
