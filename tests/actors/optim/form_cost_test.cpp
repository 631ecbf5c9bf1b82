// The cost model against figures that are counted: a plain step by loops over the definition, in double,
// which comes to the direction that Curvature gives and says what it did.
#include <cmath>
#include <cstring>
#include <numeric>

#include <gtest/gtest.h>

#include "actors/optim/factor_rows.h"
#include "actors/optim/form_choice.h"
#include "tests/actors/optim/problem.h"

namespace seng {
namespace {

using testing::convolution_block;
using testing::linear_block;
using testing::Problem;
using testing::random_problem;
using Rows = std::vector<std::vector<double>>;

constexpr int kSamples = 24;
constexpr std::uint64_t kRefresh = 3;

struct Tally {
  double operations = 0, bytes = 0;

  double dot(const std::vector<double>& x, const std::vector<double>& y) {
    operations += 2 * double(x.size());
    return std::inner_product(x.begin(), x.end(), y.begin(), 0.0);
  }
  void add(double weight, const std::vector<double>& x, double* y) {
    operations += 2 * double(x.size());
    for (std::size_t j = 0; j < x.size(); ++j) y[j] += weight * x[j];
  }
};

// Omega by its entries.
struct Map {
  explicit Map(const Sketch& omega) : rows(omega.rows()) {
    std::vector<float> unit(omega.width()), image(omega.rows());
    for (std::size_t j = 0; j < unit.size(); ++j) {
      unit[j] = 1;
      omega.apply(unit.data(), 1, image.data());
      for (std::size_t r = 0; r < rows; ++r)
        if (image[r] != 0) entries.push_back({r, j, double(image[r])});
      unit[j] = 0;
    }
  }
  std::vector<double> apply(const std::vector<double>& x, Tally& tally) const {
    std::vector<double> out(rows, 0.0);
    for (const auto& [row, column, value] : entries) out[row] += value * x[column];
    tally.operations += 2 * double(entries.size());
    return out;
  }
  struct Entry {
    std::size_t row, column;
    double value;
  };
  std::size_t rows;
  std::vector<Entry> entries;
};

// Lower triangle of K, factored in place.
void factor(Rows& k, Tally& tally) {
  for (std::size_t j = 0; j < k.size(); ++j)
    for (std::size_t i = j; i < k.size(); ++i) {
      double sum = k[i][j];
      for (std::size_t l = 0; l < j; ++l) sum -= k[i][l] * k[j][l];
      tally.operations += 2 * double(j);
      k[i][j] = i == j ? std::sqrt(sum) : sum / k[j][j];
    }
}

void solve(const Rows& k, std::vector<double>& x, Tally& tally) {
  const std::size_t n = x.size();
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j < i; ++j) x[i] -= k[i][j] * x[j];
    x[i] /= k[i][i];
  }
  for (std::size_t i = n; i-- > 0;) {
    for (std::size_t j = i + 1; j < n; ++j) x[i] -= k[j][i] * x[j];
    x[i] /= k[i][i];
  }
  tally.operations += 2 * double(n * n);
  tally.bytes += 2 * double(n * (n + 1) / 2) * sizeof(double);
}

struct Case {
  Block block;
  CurvatureForm form;
  Approximations approximations;
};

// One refresh and one ordinary step of a case.
class CountedStep {
 public:
  CountedStep(const Case& c, const Curvature& curvature, std::uint64_t seed, double lambda)
      : case_(c),
        lambda_(lambda),
        explicit_(c.form.representation == Representation::kExplicit),
        m_(std::size_t(c.block.m)),
        n_(std::size_t(c.block.n)),
        width_(n_ + (c.block.bias ? 1 : 0)),
        stored_bytes_(double(curvature.values().size() * sizeof(float))) {
    read(curvature.values());
    const auto random = [&](std::uint64_t side) {
      return Random(seed, RandomPurpose::kSketch, kRefresh * 4 + side, 0);
    };
    // Without a sketch: all rows.
    const SampleSize small = sketched_size(c.block, c.form, c.approximations.sketch);
    const std::size_t rank = a_.empty() ? 1 : a_.size() / kSamples;
    const auto map = [&](std::size_t size, std::size_t all, std::uint64_t side) {
      return Map(
          Sketch(c.approximations.sketch.kind, small.total() > 0 ? size / rank : all, all, random(side)));
    };
    sketched_ = small.total() > 0;
    if (explicit_) {
      maps_.push_back(map(small.first, c.block.count, 0));
      return;
    }
    rank_ = rank;
    maps_.push_back(map(small.first, width_, 2));
    maps_.push_back(map(small.second, m_, 1));
  }

  // Sketches, K and its factor.
  void refresh(Tally& tally) {
    small_a_ = sketched(a_, maps_[0], tally);
    if (!explicit_) small_g_ = sketched(g_, maps_[1], tally);
    tally.bytes += 2 * stored_bytes_;                  // they come, and are read
    if (sketched_) tally.bytes += 2 * sketch_bytes();  // made, and read
    k_.assign(kSamples, std::vector<double>(kSamples, 0.0));
    for (std::size_t i = 0; i < kSamples; ++i)
      for (std::size_t j = 0; j <= i; ++j) {
        double sum = 0;
        for (std::size_t k = 0; k < rank_; ++k)
          for (std::size_t l = 0; l < rank_; ++l) {
            const double inner = tally.dot(small_a_[i * rank_ + k], small_a_[j * rank_ + l]);
            sum += explicit_ ? inner : inner * tally.dot(small_g_[i * rank_ + k], small_g_[j * rank_ + l]);
            if (!explicit_) tally.operations += 2;
          }
        k_[i][j] = sum / kSamples + (i == j ? lambda_ : 0);
        tally.bytes += 3 * sizeof(double);  // written, and again when it is factored
      }
    factor(k_, tally);
  }

  std::vector<double> direction(const std::vector<float>& gradient, Tally& tally) {
    std::vector<double> b = project(gradient, tally);
    solve(k_, b, tally);
    for (double& each : b) each /= kSamples;
    std::vector<double> d = product(b, tally);
    for (std::size_t j = 0; j < d.size(); ++j) d[j] = (double(gradient[j]) - d[j]) / lambda_;
    tally.operations += 2 * double(d.size());
    tally.bytes += 3.0 * double(d.size()) * sizeof(float);  // g, and d that was written and is again
    return d;
  }

 private:
  void read(const std::vector<float>& values) {
    if (explicit_) {
      for (std::size_t i = 0; i < kSamples; ++i)
        a_.emplace_back(values.begin() + std::ptrdiff_t(i * case_.block.count),
                        values.begin() + std::ptrdiff_t((i + 1) * case_.block.count));
      return;
    }
    SampleStore store = make_store(kSamples, sample_size(case_.block, case_.form), Precision::kF32);
    store.first.put(0, Precision::kF32, values.data(), 0, store.first.size());
    store.second.put(0, Precision::kF32, values.data(), store.first.size(), store.second.size());
    const FactorRows rows(case_.block, case_.form, store);
    std::vector<float> a(rows.rank() * width_), g(rows.rank() * m_);
    for (std::size_t i = 0; i < kSamples; ++i) {
      rows.read(i, a.data(), g.data());
      for (std::size_t k = 0; k < rows.rank(); ++k) {
        a_.emplace_back(a.begin() + std::ptrdiff_t(k * width_), a.begin() + std::ptrdiff_t((k + 1) * width_));
        g_.emplace_back(g.begin() + std::ptrdiff_t(k * m_), g.begin() + std::ptrdiff_t((k + 1) * m_));
      }
    }
  }

  Rows sketched(const Rows& rows, const Map& map, Tally& tally) const {
    if (!sketched_) return rows;
    Rows out;
    for (const auto& row : rows) out.push_back(map.apply(row, tally));
    return out;
  }

  double sketch_bytes() const {
    return (double(small_a_.size() * small_a_[0].size()) +
            (explicit_ ? 0.0 : double(small_g_.size() * small_g_[0].size()))) *
           sizeof(float);
  }

  std::vector<double> project(const std::vector<float>& gradient, Tally& tally) {
    tally.bytes += double(gradient.size()) * sizeof(float);
    tally.bytes += sketched_ ? sketch_bytes() : stored_bytes_;
    std::vector<double> c(kSamples, 0.0);
    if (explicit_) {
      const std::vector<double> all(gradient.begin(), gradient.end());
      const std::vector<double> small = sketched_ ? maps_[0].apply(all, tally) : all;
      for (std::size_t i = 0; i < kSamples; ++i) c[i] = tally.dot(small_a_[i], small);
      return c;
    }
    const Rows small = sketched_matrix(gradient, tally);  // [rows of G, columns of A]
    for (std::size_t row = 0; row < small_a_.size(); ++row) {
      std::vector<double> product(small.size());
      for (std::size_t o = 0; o < small.size(); ++o) product[o] = tally.dot(small[o], small_a_[row]);
      c[row / rank_] += tally.dot(product, small_g_[row]);
    }
    return c;
  }

  // Omega_m [gW gb] Omega_n^T.
  Rows sketched_matrix(const std::vector<float>& gradient, Tally& tally) const {
    Rows matrix;
    for (std::size_t o = 0; o < m_; ++o) {
      matrix.emplace_back(gradient.begin() + std::ptrdiff_t(o * n_),
                          gradient.begin() + std::ptrdiff_t((o + 1) * n_));
      if (width_ > n_) matrix.back().push_back(gradient[m_ * n_ + o]);
    }
    if (!sketched_) return matrix;
    const Rows half = sketched(matrix, maps_[0], tally);
    Rows out(maps_[1].rows, std::vector<double>(maps_[0].rows));
    for (std::size_t j = 0; j < maps_[0].rows; ++j) {
      std::vector<double> column;
      for (const auto& row : half) column.push_back(row[j]);
      const std::vector<double> small = maps_[1].apply(column, tally);
      for (std::size_t o = 0; o < small.size(); ++o) out[o][j] = small[o];
    }
    return out;
  }

  // R b, by the authors' buckets where the case says so.
  std::vector<double> product(const std::vector<double>& b, Tally& tally) const {
    tally.bytes += stored_bytes_;
    std::vector<double> out(case_.block.count, 0.0);
    if (explicit_) {
      for (std::size_t i = 0; i < kSamples; ++i) tally.add(b[i], a_[i], out.data());
      return out;
    }
    Rows a = a_, g = g_;
    if (case_.approximations.product.kind == ProductKind::kAuthors) {
      a.assign(rank_, std::vector<double>(width_, 0.0));
      g.assign(rank_, std::vector<double>(m_, 0.0));
      for (std::size_t row = 0; row < a_.size(); ++row) {
        const double root = std::sqrt(std::abs(b[row / rank_]));
        tally.add(root, a_[row], a[row % rank_].data());
        tally.add(root, g_[row], g[row % rank_].data());
      }
      tally.bytes += 2.0 * double(rank_ * (m_ + width_)) * sizeof(float);  // written and read
    } else {
      for (std::size_t row = 0; row < g.size(); ++row)
        for (double& value : g[row]) value *= b[row / rank_];
    }
    std::vector<double> line(width_);
    for (std::size_t o = 0; o < m_; ++o) {
      std::fill(line.begin(), line.end(), 0.0);
      for (std::size_t row = 0; row < a.size(); ++row) tally.add(g[row][o], a[row], line.data());
      std::copy_n(line.begin(), n_, out.begin() + std::ptrdiff_t(o * n_));
      if (width_ > n_) out[m_ * n_ + o] = line[n_];
    }
    return out;
  }

  const Case& case_;
  const double lambda_;
  const bool explicit_;
  const std::size_t m_, n_, width_;
  const double stored_bytes_;
  bool sketched_ = false;
  std::size_t rank_ = 1;
  Rows a_, g_;  // explicit: u_i and nothing; else `rank_` pairs of rows a sample
  std::vector<Map> maps_;
  Rows small_a_, small_g_, k_;
};

std::vector<Case> cases() {
  const Block linear = linear_block(150, 40, true),
              conv = convolution_block({10, 24, 8, 8, 3, 3, 1, 1, true}),
              small = convolution_block({6, 12, 4, 4, 3, 3, 1, 1, false});
  std::vector<Case> out;
  for (const SketchKind kind : {SketchKind::kNone, SketchKind::kRows, SketchKind::kCountSketch}) {
    const Approximations approximations{{kind, 250}, {}};
    out.push_back({linear, Representation::kExplicit, approximations});
    out.push_back({linear, Representation::kImplicit, approximations});
    out.push_back({conv, Representation::kExplicit, approximations});
    out.push_back({conv, {Representation::kLowRank, 3}, approximations});
    out.push_back({small, Representation::kImplicit, approximations});
    out.push_back({conv, {Representation::kLowRank, 3}, {{kind, 250}, {ProductKind::kAuthors, 0}}});
  }
  return out;
}

TEST(FormCost, IsWhatAPlainStepCounts) {
  const std::uint64_t seed = testing::fresh_seed();
  SCOPED_TRACE("SENG_TEST_SEED=" + std::to_string(seed));
  std::mt19937_64 random(seed);
  for (const Case& c : cases()) {
    SCOPED_TRACE(c.block.name + " " + std::string(representation_name(c.form.representation)) + " sketch " +
                 std::to_string(int(c.approximations.sketch.kind)) + " product " +
                 std::to_string(int(c.approximations.product.kind)));
    const Problem problem = random_problem(c.block, kSamples, random);
    constexpr double kLambda = 4;
    Lanes lanes(1);
    Curvature curvature(c.block, {.micro_batches = 1,
                                  .samples_per_micro = kSamples,
                                  .form = c.form,
                                  .sketch = c.approximations.sketch,
                                  .product = c.approximations.product,
                                  .seed = seed});
    curvature.begin_refresh(kRefresh, kLambda);
    ASSERT_TRUE(curvature.add_fragment(
        0, make_fragment(c.block, fragment_shape(c.block, c.form, kSamples), problem.factors(0, kSamples))));
    ASSERT_TRUE(curvature.accept(lanes));
    std::vector<float> d(problem.g.size());
    curvature.precondition(problem.g, d, 1, lanes);

    Tally refresh, step;
    CountedStep counted(c, curvature, seed, kLambda);
    counted.refresh(refresh);
    const std::vector<double> wanted = counted.direction(problem.g, step);
    ASSERT_LE(testing::distance(d, wanted), 1e-4 * testing::norm(wanted));

    const FormCost cost = form_cost(c.block, c.form, kSamples, Precision::kF32, c.approximations);
    EXPECT_NEAR(cost.step_operations / step.operations, 1, 0.03);
    EXPECT_NEAR(cost.step_bytes / step.bytes, 1, 0.02);
    EXPECT_NEAR(cost.refresh_bytes / refresh.bytes, 1, 0.02);
    EXPECT_EQ(cost.bytes, curvature.bytes());
    // Fragments are the lanes' work, which is the same with a sketch and without.
    const FormCost exact = form_cost(c.block, c.form, kSamples);
    Case plain = c;
    plain.approximations = {};
    Tally exact_refresh;
    CountedStep(plain, curvature, seed, kLambda).refresh(exact_refresh);
    if (c.form.representation == Representation::kImplicit && c.block.positions > 1) {
      // Its exact Gram matrix is the cheaper of two ways; with a sketch there is one.
      if (c.approximations.sketch.kind != SketchKind::kNone) {
        EXPECT_NEAR(cost.refresh_operations / refresh.operations, 1, 0.05);
      }
      continue;
    }
    EXPECT_NEAR(cost.refresh_operations - exact.refresh_operations,
                refresh.operations - exact_refresh.operations,
                0.05 * std::max(refresh.operations, exact_refresh.operations));
  }
}

TEST(FormCost, ASketchMayChangeTheChoice) {
  const Block block = convolution_block({128, 128, 4, 4, 3, 3, 1, 1, false});
  FormOptions options;
  options.every = 1;
  EXPECT_EQ(choose_forms({block}, options).value()[0].representation, Representation::kImplicit);
  options.approximations.sketch = {SketchKind::kRows, 4096};
  EXPECT_EQ(choose_forms({block}, options).value()[0].representation, Representation::kExplicit);
}

TEST(FormCost, SketchesTakeMemoryToo) {
  const Block block = linear_block(100, 50, true);
  FormOptions options;
  options.representation = "implicit";
  options.memory_bytes = curvature_bytes(block, Representation::kImplicit, options.samples);
  EXPECT_TRUE(choose_forms({block}, options));
  options.approximations.sketch = {SketchKind::kCountSketch, 500};
  EXPECT_FALSE(choose_forms({block}, options));
}

}  // namespace
}  // namespace seng
