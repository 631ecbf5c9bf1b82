#include "actors/optim/low_rank.h"

#include <algorithm>
#include <cmath>

#include "actors/engine/linalg.h"
#include "actors/engine/low_rank_cuts.h"
#include "protocol/base/error.h"

namespace seng {
namespace {

constexpr double kNothing = SubspaceIteration::kNothing;
constexpr int kPasses = SubspaceIteration::kPasses;

// Gram-Schmidt over the rows (count x width), each row against those before it, twice: once leaves what
// cancellation does. Rows without a direction of their own become zero.
void orthonormalise_rows(float* rows, std::size_t count, std::size_t width) {
  for (std::size_t r = 0; r < count; ++r) {
    float* row = rows + r * width;
    const double before = std::sqrt(dot(row, row, width));
    for (int pass = 0; pass < 2; ++pass) {
      for (std::size_t q = 0; q < r; ++q) {
        const float* other = rows + q * width;
        const float along = float(dot(row, other, width));
        for (std::size_t k = 0; k < width; ++k) row[k] -= along * other[k];
      }
    }
    const double length = std::sqrt(dot(row, row, width));
    const double inverse = length > kNothing * before ? 1.0 / length : 0.0;
    const float scale = float(inverse);
    // Of a row of denormal numbers only a double holds it.
    if (std::isfinite(scale)) {
      for (std::size_t k = 0; k < width; ++k) row[k] *= scale;
    } else {
      for (std::size_t k = 0; k < width; ++k) row[k] = float(row[k] * inverse);
    }
  }
}

// The Gram matrix of the rows (count x width), whole.
std::vector<double> row_gram(const float* rows, std::size_t count, std::size_t width) {
  std::vector<double> gram(count * count);
  for (std::size_t i = 0; i < count; ++i) {
    for (std::size_t j = 0; j <= i; ++j) {
      gram[i * count + j] = gram[j * count + i] = dot(rows + i * width, rows + j * width, width);
    }
  }
  return gram;
}

// vectors (p x count) times rows (count x width) -> out (p x width).
void combine(const double* vectors, std::size_t p, const float* rows, std::size_t count, std::size_t width,
             float* out) {
  std::vector<float> weights(vectors, vectors + p * count);
  gemm(p, width, count, 1, {weights.data(), count, false}, {rows, width, false}, 0, out, width);
}

std::vector<float> transposed(const float* matrix, std::size_t rows, std::size_t columns) {
  std::vector<float> out(rows * columns);
  for (std::size_t r = 0; r < rows; ++r) {
    for (std::size_t c = 0; c < columns; ++c) out[c * rows + r] = matrix[r * columns + c];
  }
  return out;
}

void by_svd(const float* g, std::size_t m, std::size_t kappa, std::size_t p, float* basis) {
  const bool columns = kappa <= m;  // of G^T G
  const std::size_t side = std::min(m, kappa);
  const std::vector<float> turned = columns ? transposed(g, m, kappa) : std::vector<float>();
  std::vector<double> gram = row_gram(columns ? turned.data() : g, side, std::max(m, kappa)), values(side);
  SENG_CHECK(symmetric_eigen(gram.data(), side, values.data()), "the eigenvectors of a sample's Gram matrix");
  if (columns) {
    std::copy_n(gram.data(), p * kappa, basis);
    return;
  }
  combine(gram.data(), p, g, m, kappa, basis);  // q_j = G^T u_j, of length sigma_j
  orthonormalise_rows(basis, p, kappa);
}

void by_iteration(const float* g, std::size_t m, std::size_t kappa, std::size_t p, Random random,
                  float* basis) {
  const std::size_t count = std::min(p + SubspaceIteration::kMoreVectors, std::min(m, kappa));
  std::vector<float> left(count * m), right(count * kappa);
  for (float& value : left) value = random.normal();
  for (int pass = 0; pass < kPasses; ++pass) {
    gemm(count, kappa, m, 1, {left.data(), m, false}, {g, kappa, false}, 0, right.data(), kappa);
    orthonormalise_rows(right.data(), count, kappa);
    gemm(count, m, kappa, 1, {right.data(), kappa, false}, {g, kappa, true}, 0, left.data(), m);
    if (pass + 1 < kPasses) orthonormalise_rows(left.data(), count, m);
  }
  // Of the vectors found, the p that hold most: the leading eigenvectors of (G Q)^T (G Q).
  std::vector<double> gram = row_gram(left.data(), count, m), values(count);
  SENG_CHECK(symmetric_eigen(gram.data(), count, values.data()), "the eigenvectors of a sample's subspace");
  combine(gram.data(), p, right.data(), count, kappa, basis);
}

}  // namespace

void leading_subspace(const float* gradient, std::size_t m, std::size_t kappa, std::size_t p,
                      RankMethod method, Random random, float* basis) {
  SENG_CHECK(p > 0 && p <= std::min(m, kappa), "rank");
  // What is not finite is found when the curvature is accepted; an eigenvalue solver need not end on it.
  if (!all_finite(gradient, m * kappa)) {
    std::fill_n(basis, p * kappa, gradient[0] - gradient[0] + std::nanf(""));
  } else if (method == RankMethod::kSvd) {
    by_svd(gradient, m, kappa, p, basis);
  } else {
    by_iteration(gradient, m, kappa, p, random, basis);
  }
}

std::vector<double> cumulated_energy(const float* gradient, std::size_t m, std::size_t kappa) {
  const std::size_t side = std::min(m, kappa);
  const std::vector<float> turned = kappa <= m ? transposed(gradient, m, kappa) : std::vector<float>();
  std::vector<double> gram = row_gram(kappa <= m ? turned.data() : gradient, side, std::max(m, kappa)),
                      values(side);
  SENG_CHECK(symmetric_eigen(gram.data(), side, values.data()), "the eigenvalues of a sample's Gram matrix");
  double sum = 0;
  for (double& value : values) value = sum += std::max(value, 0.0);
  return values;
}

int rank_for_energy(std::span<const std::vector<double>> cumulated, double share, int cap) {
  double whole = 0;
  std::size_t longest = 0;
  for (const auto& sample : cumulated) {
    if (!sample.empty()) whole += sample.back();
    longest = std::max(longest, sample.size());
  }
  const std::size_t most = std::min(longest, std::size_t(std::max(cap, 1)));
  for (std::size_t p = 1; p < most; ++p) {
    double held = 0;
    for (const auto& sample : cumulated) held += sample.empty() ? 0 : sample[std::min(p, sample.size()) - 1];
    if (held >= share * whole) return int(p);
  }
  return int(std::max<std::size_t>(most, 1));
}

}  // namespace seng
