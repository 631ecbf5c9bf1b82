#include <algorithm>
#include <numeric>
#include <vector>

#include "actors/optim/gradient_columns.h"
#include "actors/optim/gram.h"
#include "actors/optim/tasks.h"

namespace seng {
namespace {

// Both products read all of R once and do two operations a float: memory bound.
constexpr std::size_t kRows = 16;  // samples per task of project()
constexpr std::size_t kColumns =
    2048;  // parameters per task of correct(): d's part stays in the first-level cache

class ExplicitColumns final : public GradientColumns {
 public:
  explicit ExplicitColumns(const SampleStore& store) : store_(store) {}

  void gram(double* gram, Lanes& lanes) const override {
    std::fill_n(gram, store_.count * store_.count, 0.0);
    add_gram(store_.first, width(), store_.count, width(), gram, lanes);
  }

  void project(std::span<const float> g, double* c, Lanes& lanes) const override {
    const Cut rows{store_.count, kRows};
    run_tasks(lanes, rows.tasks(), work(), [&](std::size_t task) {
      const std::size_t begin = rows.begin(task);
      store_.first.row_dots(begin * width(), width(), rows.size(task), width(), g.data(), c + begin);
    });
  }

  double correct(std::span<const float> g, const double* b, double inverse_lambda, std::span<float> d,
                 Lanes& lanes) const override {
    const std::vector<float> weights(b, b + store_.count);
    const Cut columns{width(), kColumns};
    std::vector<double> inner(columns.tasks());
    run_tasks(lanes, columns.tasks(), work(), [&](std::size_t task) {
      const std::size_t begin = columns.begin(task), count = columns.size(task);
      std::fill_n(d.data() + begin, count, 0.0f);
      store_.first.add_weighted_rows(begin, width(), store_.count, count, weights.data(), d.data() + begin);
      inner[task] = finish_direction(g.data() + begin, inverse_lambda, d.data() + begin, count);
    });
    return std::accumulate(inner.begin(), inner.end(), 0.0);
  }

 private:
  std::size_t width() const { return store_.size.first; }
  double work() const { return double(store_.count) * double(width()); }

  const SampleStore& store_;
};

}  // namespace

std::unique_ptr<GradientColumns> explicit_columns(const Block&, const SampleStore& store) {
  return std::make_unique<ExplicitColumns>(store);
}

}  // namespace seng
