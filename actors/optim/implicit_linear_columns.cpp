#include <algorithm>
#include <numeric>
#include <vector>

#include "actors/optim/gradient_columns.h"
#include "actors/optim/gram.h"
#include "actors/optim/tasks.h"
#include "actors/optim/workspace.h"

namespace seng {
namespace {

constexpr std::size_t kSamples = 64;         // per task of project()
constexpr std::size_t kColumns = 400;        // of the weight, per task of correct(); about
constexpr std::size_t kSparseColumns = 384;  // of the weight, per task where zeros are left out; about
constexpr double kZeros = 0.4;               // from this part of zeros on they are

// kappa = 1: u_i = vec(G_i A_i^T) with A_i (n) a row of `first` and G_i (m) a row of `second`.
class ImplicitLinearColumns final : public GradientColumns {
 public:
  ImplicitLinearColumns(const Block& block, const SampleStore& store)
      : store_(store), m_(std::size_t(block.m)), n_(std::size_t(block.n)), bias_(block.bias) {}

  // (R^T R)_ij = (<A_i, A_j> [+ 1]) <G_i, G_j>.
  void gram(double* gram, Lanes& lanes) const override {
    const std::size_t entries = store_.count * store_.count;
    std::fill_n(gram, entries, bias_ ? 1.0 : 0.0);
    add_gram(store_.first, n_, store_.count, n_, gram, lanes);
    AlignedBuffer<double> outer(entries);
    std::fill_n(outer.data(), entries, 0.0);
    add_gram(store_.second, m_, store_.count, m_, outer.data(), lanes);
    for (std::size_t i = 0; i < store_.count; ++i) {
      for (std::size_t j = 0; j <= i; ++j) gram[i * store_.count + j] *= outer.data()[i * store_.count + j];
    }
  }

  // c_i = <G_i, gW A_i [+ gb]>.
  void project(std::span<const float> g, double* c, Lanes& lanes) const override {
    const float* all = store_.second.floats(0, store_.count * m_);
    if (SparseMatrix* sparse = sparse_of(all, store_.count, m_)) return project_sparse(*sparse, g, c, lanes);
    const Cut samples = even_cut(store_.count, kSamples, 8);
    run_tasks(lanes, samples.tasks(), work(), [&](std::size_t task) {
      const std::size_t begin = samples.begin(task), count = samples.size(task);
      float* product = Workspace::of_this_thread().floats(Workspace::kProduct, count * m_);
      if (bias_) {
        for (std::size_t i = 0; i < count; ++i) std::copy_n(g.data() + m_ * n_, m_, product + i * m_);
      }
      gemm(count, m_, n_, 1, store_.first.panel(begin * n_, n_, count, n_), {g.data(), n_, true},
           bias_ ? 1 : 0, product, m_);
      const float* gradients = store_.second.floats(begin * m_, count * m_);
      for (std::size_t i = 0; i < count; ++i) c[begin + i] = dot(gradients + i * m_, product + i * m_, m_);
    });
  }

  // R b = [G diag(b)] A^T, a GEMM over the samples, by runs of the weight's columns.
  double correct(std::span<const float> g, const double* b, double inverse_lambda, std::span<float> d,
                 Lanes& lanes) const override {
    float* scaled = Workspace::of_this_thread().floats(Workspace::kScaled, m_ * store_.count);
    const float* gradients = store_.second.floats(0, store_.count * m_);
    for (std::size_t i = 0; i < store_.count; ++i) {
      const float* gradient = gradients + i * m_;
      const float weight = float(b[i]);
      for (std::size_t o = 0; o < m_; ++o) scaled[o * store_.count + i] = weight * gradient[o];
    }
    const SparseMatrix* sparse = sparse_of(scaled, m_, store_.count);
    const Cut columns = sparse != nullptr ? even_cut(n_, kSparseColumns, SparseMatrix::kPanelColumns)
                                          : even_cut(n_, kColumns, 16);
    std::vector<double> inner(columns.tasks());
    run_tasks(lanes, columns.tasks(), work(), [&](std::size_t task) {
      const std::size_t begin = columns.begin(task), count = columns.size(task);
      if (sparse != nullptr) {
        const MatrixOperand inputs = store_.first.panel(begin, n_, store_.count, count);
        sparse->multiply(inputs.data, inputs.ld, count, d.data() + begin, n_);
      } else {
        multiply_stored(m_, {scaled, store_.count, false}, store_.first, begin, n_, store_.count, count,
                        d.data() + begin, n_);
      }
      for (std::size_t o = 0; o < m_; ++o) {
        const std::size_t at = o * n_ + begin;
        inner[task] += finish_direction(g.data() + at, inverse_lambda, d.data() + at, count);
      }
    });
    return std::accumulate(inner.begin(), inner.end(), 0.0) + correct_bias(g, scaled, inverse_lambda, d);
  }

 private:
  // Behind a rectifier half of G_i and more is zero, and so are that many of the products. Which way is taken
  // follows from the samples, so everybody takes the same. Null: too few zeros. Of the calling thread, as
  // long as it asks for no other.
  static SparseMatrix* sparse_of(const float* values, std::size_t rows, std::size_t columns) {
    const auto zeros = std::size_t(std::count(values, values + rows * columns, 0.0f));
    if (double(zeros) < kZeros * double(rows * columns)) return nullptr;
    static thread_local SparseMatrix sparse;
    sparse.assign(values, rows, columns);
    return &sparse;
  }

  // c_i = <A_i, gW^T G_i> [+ <G_i, gb>]: rows of gW added up where G_i is not zero, by runs of the weight's
  // columns.
  void project_sparse(const SparseMatrix& gradients, std::span<const float> g, double* c,
                      Lanes& lanes) const {
    const Cut columns = even_cut(n_, kSparseColumns, SparseMatrix::kPanelColumns);
    std::vector<double> parts(columns.tasks() * store_.count);
    run_tasks(lanes, columns.tasks(), work(), [&](std::size_t task) {
      const std::size_t begin = columns.begin(task), count = columns.size(task);
      float* product = Workspace::of_this_thread().floats(Workspace::kProduct, store_.count * count);
      gradients.multiply(g.data() + begin, n_, count, product, count);
      const MatrixOperand inputs = store_.first.panel(begin, n_, store_.count, count);
      for (std::size_t i = 0; i < store_.count; ++i)
        parts[task * store_.count + i] = dot(product + i * count, inputs.data + i * inputs.ld, count);
    });
    const float* outer = store_.second.floats(0, store_.count * m_);
    for (std::size_t i = 0; i < store_.count; ++i) {
      c[i] = bias_ ? dot(outer + i * m_, g.data() + m_ * n_, m_) : 0;
      for (std::size_t task = 0; task < columns.tasks(); ++task) c[i] += parts[task * store_.count + i];
    }
  }

  double correct_bias(std::span<const float> g, const float* scaled, double inverse_lambda,
                      std::span<float> d) const {
    if (!bias_) return 0;
    const float* ones = Workspace::of_this_thread().ones(store_.count);
    float* bias = d.data() + m_ * n_;
    for (std::size_t o = 0; o < m_; ++o) bias[o] = float(dot(scaled + o * store_.count, ones, store_.count));
    return finish_direction(g.data() + m_ * n_, inverse_lambda, bias, m_);
  }

  double work() const { return double(store_.count) * double(m_) * double(n_); }

  const SampleStore& store_;
  std::size_t m_, n_;
  bool bias_;
};

}  // namespace

std::unique_ptr<GradientColumns> implicit_linear_columns(const Block& block, const SampleStore& store) {
  return std::make_unique<ImplicitLinearColumns>(block, store);
}

}  // namespace seng
