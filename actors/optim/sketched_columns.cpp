#include <algorithm>
#include <atomic>
#include <cmath>
#include <vector>

#include "actors/optim/approximate_columns.h"
#include "actors/optim/factor_rows.h"
#include "actors/optim/tasks.h"

namespace seng {
namespace {

Random random_of(const SketchKey& key, std::uint64_t side) {
  return Random(key.seed, RandomPurpose::kSketch, key.refresh * 4 + side, key.block);
}

std::size_t bytes_of(const SampleStore& sketched) {
  return (sketched.first.size() + sketched.second.size()) * sizeof(float);
}

// The system of sketched samples; R b stays that of the exact ones.
class SketchedColumns : public ApproximateColumns {
 public:
  SketchedColumns(std::unique_ptr<GradientColumns> exact, std::shared_ptr<SampleDevice> device)
      : ApproximateColumns(std::move(exact)), device_(std::move(device)) {}
  ~SketchedColumns() override {
    if (!sketch_) return;
    const std::lock_guard lock(device_->mutex);
    sketch_.reset();
  }

  void gram(double* gram, Lanes& lanes) const override {
    sketch_samples(lanes);
    columns_->gram(gram, lanes);
  }
  void project(std::span<const float> g, double* c, Lanes& lanes) const override {
    columns_->project(sketched(g), c, lanes);
  }
  bool keeps_system() const override { return columns_->keeps_system(); }
  Status form_system(double lambda, std::size_t workers, Lanes& lanes) const override {
    sketch_samples(lanes);
    return columns_->form_system(lambda, workers, lanes);
  }
  double precondition(std::span<const float> g, double inverse_lambda, std::span<float> d,
                      Lanes& lanes) const override {
    columns_->solve(sketched(g));
    return exact().correct_by(g, *columns_, inverse_lambda, d, lanes);
  }
  void precondition_there(const float* g, double inverse_lambda, float* d) const override {
    columns_->solve_there(sketched_there(g));
    exact().correct_by_there(g, *columns_, inverse_lambda, d);
  }
  std::size_t bytes() const override {
    return bytes_of(small_) + (keeps_system() ? exact().bytes() + columns_->bytes() : 0) + sketch_bytes_;
  }

 protected:
  virtual void sketch_samples(Lanes& lanes) const = 0;  // Omega R into small_, with the Gram matrix
  virtual std::vector<float> sketched(std::span<const float> g) const = 0;  // Omega g
  virtual SketchPlan plan_sketch() const = 0;                               // the same, for the device

  std::unique_ptr<GradientColumns> columns_;  // of small_
  mutable SampleStore small_;

 private:
  const float* sketched_there(const float* g) const {
    const std::lock_guard lock(device_->mutex);
    if (!sketch_) sketch_ = device_->backend->plan_sketch(plan_sketch());
    sketch_bytes_ = sketch_->bytes();
    return sketch_->apply(g);
  }

  const std::shared_ptr<SampleDevice> device_;    // null: the host's
  mutable std::unique_ptr<VectorSketch> sketch_;  // under the device's mutex; made when first asked for
  mutable std::atomic<std::size_t> sketch_bytes_ = 0;
};

class SketchedExplicit final : public SketchedColumns {
 public:
  SketchedExplicit(std::unique_ptr<GradientColumns> exact, const ApproximatedSamples& of,
                   const SketchOptions& options)
      : SketchedColumns(std::move(exact), of.device),
        store_(of.store),
        omega_(options.kind, options.rows, of.block.count, random_of(of.key, 0)) {
    small_.count = of.store.count;
    small_.size = {omega_.rows(), 0};
    const SamplesPlan plan{.samples = small_.count, .parameters = omega_.rows()};
    columns_ = of.device ? device_columns(of.device, plan, small_) : explicit_columns(of.block, small_);
  }

 private:
  void sketch_samples(Lanes& lanes) const override {
    float* small = small_.first.at_least(store_.count * omega_.rows());
    run_tasks(lanes, store_.count, double(store_.count) * double(omega_.width()), [&](std::size_t i) {
      const float* sample = store_.first.floats(i * store_.size.first, store_.size.first);
      omega_.apply(sample, 1, small + i * omega_.rows());
    });
  }
  std::vector<float> sketched(std::span<const float> g) const override {
    std::vector<float> small(omega_.rows());
    omega_.apply(g.data(), 1, small.data());
    return small;
  }
  SketchPlan plan_sketch() const override {
    const SketchSide as_it_is{.width = 1, .begins = {0, 1}, .index = {0}, .factor = {1}};
    return {.left = as_it_is, .right = omega_.side(), .columns = omega_.width()};
  }

  const SampleStore& store_;
  Sketch omega_;
};

// A side's share of about `rows` of the m * width coordinates.
std::size_t side_rows(std::size_t rows, std::size_t side, std::size_t m, std::size_t width) {
  const double share = std::sqrt(std::min(1.0, double(rows) / (double(m) * double(width))));
  return std::clamp<std::size_t>(std::size_t(std::llround(share * double(side))), 1, side);
}

class SketchedFactors final : public SketchedColumns {
 public:
  SketchedFactors(std::unique_ptr<GradientColumns> exact, const ApproximatedSamples& of,
                  const SketchOptions& options)
      : SketchedColumns(std::move(exact), of.device),
        store_(of.store),
        rows_(of.block, of.form, of.store),
        left_(options.kind, side_rows(options.rows, rows_.m(), rows_.m(), rows_.width()), rows_.m(),
              random_of(of.key, 1)),
        right_(options.kind, side_rows(options.rows, rows_.width(), rows_.m(), rows_.width()), rows_.width(),
               random_of(of.key, 2)),
        weight_columns_(std::size_t(of.block.n)) {
    small_.count = of.store.count;
    small_.size = {rows_.rank() * right_.rows(), rows_.rank() * left_.rows()};
    const std::size_t m = left_.rows(), n = right_.rows();
    const SamplesPlan plan{
        .samples = small_.count, .parameters = m * n, .factors = rows_.rank(), .m = m, .n = n};
    columns_ = of.device ? device_columns(of.device, plan, small_)
                         : low_rank_columns({m, n, rows_.rank(), false}, small_);
  }

 private:
  void sketch_samples(Lanes& lanes) const override {
    float* small_a = small_.first.at_least(store_.count * small_.size.first);
    float* small_g = small_.second.at_least(store_.count * small_.size.second);
    const double work = double(store_.count * rows_.rank()) * double(rows_.m() + rows_.width());
    run_tasks(lanes, store_.count, work, [&](std::size_t i) {
      std::vector<float> a(rows_.rank() * rows_.width()), g(rows_.rank() * rows_.m());
      rows_.read(i, a.data(), g.data());
      for (std::size_t k = 0; k < rows_.rank(); ++k) {
        right_.apply(a.data() + k * rows_.width(), 1, small_a + i * small_.size.first + k * right_.rows());
        left_.apply(g.data() + k * rows_.m(), 1, small_g + i * small_.size.second + k * left_.rows());
      }
    });
  }

  // Omega_m [gW gb] Omega_n^T. Of sampled rows a few in a hundred of g's entries are read.
  std::vector<float> sketched(std::span<const float> g) const override {
    const std::size_t m = rows_.m(), width = rows_.width(), q = right_.rows();
    std::vector<float> row(width), half(m * q), column(left_.rows()), small(left_.rows() * q);
    for (std::size_t o = 0; o < m; ++o) {
      if (!left_.reads(o)) continue;
      const float* weights = g.data() + o * weight_columns_;
      if (width > weight_columns_) {
        std::copy_n(weights, weight_columns_, row.data());
        row[weight_columns_] = g[m * weight_columns_ + o];
        weights = row.data();
      }
      right_.apply(weights, 1, half.data() + o * q);
    }
    for (std::size_t j = 0; j < q; ++j) {
      left_.apply(half.data() + j, q, column.data());
      for (std::size_t o = 0; o < left_.rows(); ++o) small[o * q + j] = column[o];
    }
    return small;
  }
  SketchPlan plan_sketch() const override {
    return {.left = left_.side(), .right = right_.side(), .columns = weight_columns_};
  }

  const SampleStore& store_;
  const FactorRows rows_;
  Sketch left_, right_;
  std::size_t weight_columns_;
};

bool is_sketched(const Block& block, const SketchOptions& options) {
  return options.kind != SketchKind::kNone && options.rows < block.count;
}

}  // namespace

std::unique_ptr<GradientColumns> sketched_columns(std::unique_ptr<GradientColumns> exact,
                                                  const ApproximatedSamples& of,
                                                  const SketchOptions& options) {
  if (!is_sketched(of.block, options)) return exact;
  if (of.form.representation == Representation::kExplicit)
    return std::make_unique<SketchedExplicit>(std::move(exact), of, options);
  return std::make_unique<SketchedFactors>(std::move(exact), of, options);
}

SampleSize sketched_size(const Block& block, const CurvatureForm& form, const SketchOptions& options) {
  if (!is_sketched(block, options) || form.representation == Representation::kScale) return {};
  if (form.representation == Representation::kExplicit) return {options.rows, 0};
  const SampleStore none;
  const FactorRows rows(block, form, none);
  return {rows.rank() * side_rows(options.rows, rows.width(), rows.m(), rows.width()),
          rows.rank() * side_rows(options.rows, rows.m(), rows.m(), rows.width())};
}

}  // namespace seng
