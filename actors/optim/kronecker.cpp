#include "actors/optim/kronecker.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "actors/engine/linalg.h"
#include "actors/optim/gram.h"
#include "actors/optim/tasks.h"
#include "actors/optim/unfold.h"
#include "actors/optim/workspace.h"

namespace seng {
namespace {

// Columns (sample, position) that are unfolded at a time: as many as the Gram matrix adds in float.
constexpr std::size_t kColumns = 2048;
constexpr std::size_t kRows = 64;  // of a product per task

// Rows of the unfolded inputs of samples [first, first + count) side by side, [n, count * kappa].
void unfold_group(const Block& block, const float* inputs, std::size_t input_size, std::size_t first,
                  std::size_t count, float* out, std::size_t ld, Lanes& lanes) {
  const std::size_t kappa = std::size_t(block.positions), n = std::size_t(block.n);
  run_tasks(lanes, count, double(n * kappa * count), [&](std::size_t i) {
    const float* input = inputs + (first + i) * input_size;
    float* to = out + i * kappa;
    if (block.kind == BlockKind::kConvolution) {
      unfold(block.conv, input, 0, block.conv.channels_in, to, ld);
    } else {
      for (std::size_t j = 0; j < n; ++j) to[j * ld] = input[j];
    }
    if (block.bias) std::fill_n(to + n * ld, kappa, 1.0f);
  });
}

void pack(const double* full, std::size_t n, double scale, float* packed) {
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t j = 0; j <= i; ++j) *packed++ = float(full[i * n + j] * scale);
}

// mean <- retained * before + (1 - retained) * sum * scale, over packed entries.
void blend(const double* full, std::size_t n, double scale, double retained, std::span<const float> before,
           float* packed) {
  const float* old = before.empty() ? nullptr : before.data();
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j <= i; ++j) {
      const double now = full[i * n + j] * scale;
      *packed++ = float(old == nullptr ? now : retained * double(*old++) + (1 - retained) * now);
    }
  }
}

void add_packed(const float* packed, std::size_t n, double* full) {
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t j = 0; j <= i; ++j) full[i * n + j] += double(*packed++);
}

// C (rows x columns) = op(A) (rows x depth) B, a run of rows per task.
void product(std::size_t rows, std::size_t columns, std::size_t depth, MatrixOperand a, MatrixOperand b,
             float* c, Lanes& lanes) {
  const Cut cut = even_cut(rows, kRows, 8);
  run_tasks(lanes, cut.tasks(), double(rows) * double(columns) * double(depth), [&](std::size_t task) {
    const std::size_t begin = cut.begin(task);
    const MatrixOperand part{a.data + (a.transposed ? begin : begin * a.ld), a.ld, a.transposed};
    gemm(cut.size(task), columns, depth, 1, part, b, 0, c + begin * columns, columns);
  });
}

// The eigenvectors of a packed matrix as rows, largest eigenvalue first.
Status decompose(std::span<const float> packed, std::size_t n, AlignedBuffer<float>& vectors,
                 AlignedBuffer<float>& values) {
  vectors = AlignedBuffer<float>(n * n);
  values = AlignedBuffer<float>(n);
  const float* from = packed.data();
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t j = 0; j <= i; ++j) vectors.data()[i * n + j] = *from++;
  if (!symmetric_eigen(vectors.data(), n, values.data()))
    return fail(ErrorCode::kInvalidArgument, kNoConvergence);
  for (std::size_t i = 0; i < n; ++i) values.data()[i] = std::max(values.data()[i], 0.0f);
  return {};
}

}  // namespace

KroneckerShape kronecker_shape(const Block& block) {
  SENG_CHECK(block.kind != BlockKind::kBatchNorm, "a batch norm has no Kronecker factors");
  return {std::size_t(block.m), std::size_t(block.n) + (block.bias ? 1 : 0)};
}

KroneckerFragment kronecker_fragment(const Block& block, int samples) {
  const KroneckerShape shape = kronecker_shape(block);
  const SampleSize sums{shape.packed_a(), shape.packed_g()};
  const SampleSize raw = sample_size(block, Representation::kImplicit);
  if (sums.total() < raw.total() * std::size_t(samples)) return {true, sums, samples > 0 ? 1 : 0};
  return {false, raw, samples};
}

void add_kronecker_sums(const Block& block, const SampleFactors& factors, double* a, double* g,
                        Lanes& lanes) {
  const KroneckerShape shape = kronecker_shape(block);
  const std::size_t kappa = std::size_t(block.positions), samples = std::size_t(factors.samples);
  const std::size_t inputs = sample_size(block, Representation::kImplicit).first;
  const std::size_t group = std::max<std::size_t>(1, kColumns / kappa);
  AlignedBuffer<float> unfolded(shape.n * std::min(group, samples) * kappa);
  AlignedBuffer<float> outputs(shape.m * std::min(group, samples) * kappa);
  for (std::size_t first = 0; first < samples; first += group) {
    const std::size_t count = std::min(group, samples - first), width = count * kappa;
    unfold_group(block, factors.activations, inputs, first, count, unfolded.data(), width, lanes);
    add_gram(unfolded.data(), width, shape.n, width, a, lanes);
    for (std::size_t i = 0; i < count; ++i)
      for (std::size_t o = 0; o < shape.m; ++o)
        std::copy_n(factors.gradients + ((first + i) * shape.m + o) * kappa, kappa,
                    outputs.data() + o * width + i * kappa);
    add_gram(outputs.data(), width, shape.m, width, g, lanes);
  }
}

std::vector<float> kronecker_sums(const Block& block, const SampleFactors& factors, int samples) {
  const KroneckerShape shape = kronecker_shape(block);
  std::vector<double> a(shape.n * shape.n), g(shape.m * shape.m);
  Lanes here(1);
  add_kronecker_sums(block, {samples, factors.activations, factors.gradients}, a.data(), g.data(), here);
  std::vector<float> packed(shape.packed_a() + shape.packed_g());
  pack(a.data(), shape.n, 1, packed.data());
  pack(g.data(), shape.m, 1, packed.data() + shape.packed_a());
  return packed;
}

double retained_share(const KroneckerOptions& options, std::uint64_t refresh) {
  const std::uint64_t k = (refresh - 1) / options.refresh_every + 1;
  return std::min(1 - 1 / double(k), options.decay);
}

bool renews_inverse(const KroneckerOptions& options, std::uint64_t refresh) {
  return (refresh - 1) / options.refresh_every % options.inverse_every == 0;
}

void fold_factors(const Block& block, const SampleStore& arrived, const KroneckerRefresh& refresh,
                  std::span<float> a, std::span<float> g, Lanes& lanes) {
  const KroneckerShape shape = kronecker_shape(block);
  AlignedBuffer<double> full_a(shape.n * shape.n), full_g(shape.m * shape.m);
  std::fill_n(full_a.data(), full_a.size(), 0.0);
  std::fill_n(full_g.data(), full_g.size(), 0.0);
  if (refresh.sums) {
    for (std::size_t i = 0; i < arrived.count; ++i) {
      add_packed(arrived.first.floats(i * arrived.size.first, arrived.size.first), shape.n, full_a.data());
      add_packed(arrived.second.floats(i * arrived.size.second, arrived.size.second), shape.m, full_g.data());
    }
  } else {
    add_kronecker_sums(block,
                       {int(refresh.samples), arrived.first.floats(0, arrived.first.size()),
                        arrived.second.floats(0, arrived.second.size())},
                       full_a.data(), full_g.data(), lanes);
  }
  const double scale = 1 / double(refresh.samples);
  blend(full_a.data(), shape.n, scale, refresh.retained, refresh.old_a, a.data());
  blend(full_g.data(), shape.m, scale / double(block.positions), refresh.retained, refresh.old_g, g.data());
}

namespace {

class LanesBasis final : public KroneckerBasis {
 public:
  explicit LanesBasis(const KroneckerShape& shape) : shape_(shape) {}

  Status decompose(std::span<const float> a, std::span<const float> g, Lanes& lanes) {
    Status formed[2];
    lanes.run(2, [&](std::size_t which, int) {
      formed[which] = which == 0 ? seng::decompose(a, shape_.n, vectors_a_, values_a_)
                                 : seng::decompose(g, shape_.m, vectors_g_, values_g_);
    });
    for (Status& status : formed) SENG_TRY(std::move(status));
    return {};
  }

  double precondition(const Block& block, std::span<const float> g, double lambda, std::span<float> d,
                      Lanes& lanes) const override;
  double curvature_along(const Block& block, std::span<const float> v, Lanes& lanes) const override;
  std::size_t bytes() const override {
    return (vectors_a_.size() + vectors_g_.size() + values_a_.size() + values_g_.size()) * sizeof(float);
  }

 private:
  AlignedBuffer<float> rotate(const Block& block, std::span<const float> g, Lanes& lanes) const;

  KroneckerShape shape_;
  AlignedBuffer<float> vectors_a_, vectors_g_;  // eigenvectors as rows
  AlignedBuffer<float> values_a_, values_g_;
};

// Q_G^T g Q_A (m x n), g with its bias as the last column.
AlignedBuffer<float> LanesBasis::rotate(const Block& block, std::span<const float> g, Lanes& lanes) const {
  const std::size_t m = shape_.m, n = shape_.n, weights = std::size_t(block.n);
  AlignedBuffer<float> matrix(m * n), half(m * n);
  for (std::size_t o = 0; o < m; ++o) {
    std::copy_n(g.data() + o * weights, weights, matrix.data() + o * n);
    if (block.bias) matrix.data()[o * n + weights] = g[m * weights + o];
  }
  product(m, n, m, {vectors_g_.data(), m, false}, {matrix.data(), n, false}, half.data(), lanes);
  product(m, n, n, {half.data(), n, false}, {vectors_a_.data(), n, true}, matrix.data(), lanes);
  return matrix;
}

double LanesBasis::precondition(const Block& block, std::span<const float> g, double lambda,
                                std::span<float> d, Lanes& lanes) const {
  const std::size_t m = shape_.m, n = shape_.n, weights = std::size_t(block.n);
  AlignedBuffer<float> rotated = rotate(block, g, lanes), half(m * n);
  for (std::size_t o = 0; o < m; ++o) {
    const double s = values_g_.data()[o];
    for (std::size_t j = 0; j < n; ++j) {
      float& value = rotated.data()[o * n + j];
      value = float(double(value) / (s * double(values_a_.data()[j]) + lambda));
    }
  }
  product(m, n, m, {vectors_g_.data(), m, true}, {rotated.data(), n, false}, half.data(), lanes);
  product(m, n, n, {half.data(), n, false}, {vectors_a_.data(), n, false}, rotated.data(), lanes);
  for (std::size_t o = 0; o < m; ++o) {
    std::copy_n(rotated.data() + o * n, weights, d.data() + o * weights);
    if (block.bias) d[m * weights + o] = rotated.data()[o * n + weights];
  }
  return dot(g.data(), d.data(), d.size());
}

double LanesBasis::curvature_along(const Block& block, std::span<const float> v, Lanes& lanes) const {
  const std::size_t m = shape_.m, n = shape_.n;
  const AlignedBuffer<float> rotated = rotate(block, v, lanes);
  double sum = 0;
  for (std::size_t o = 0; o < m; ++o) {
    const double s = values_g_.data()[o];
    for (std::size_t j = 0; j < n; ++j) {
      const double value = rotated.data()[o * n + j];
      sum += s * double(values_a_.data()[j]) * value * value;
    }
  }
  return sum;
}

}  // namespace

Result<std::shared_ptr<const KroneckerBasis>> KroneckerBasis::form(const Block& block,
                                                                   std::span<const float> a,
                                                                   std::span<const float> g, Lanes& lanes) {
  auto basis = std::make_shared<LanesBasis>(kronecker_shape(block));
  if (Status formed = basis->decompose(a, g, lanes); !formed) return fail(std::move(formed).error());
  return std::shared_ptr<const KroneckerBasis>(std::move(basis));
}

void KroneckerBasis::precondition_there(const float*, double, float*) const {
  SENG_CHECK(false, "a basis that no device has");
}

}  // namespace seng
