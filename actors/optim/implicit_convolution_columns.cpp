#include <algorithm>
#include <numeric>
#include <vector>

#include "actors/optim/gradient_columns.h"
#include "actors/optim/gram.h"
#include "actors/optim/tasks.h"
#include "actors/optim/unfold.h"
#include "actors/optim/workspace.h"

namespace seng {
namespace {

constexpr std::size_t kPositions = 256;                      // (sample, position) pairs per GEMM, about
constexpr std::size_t kWeights = std::size_t(1) << 15;       // of d, per task of correct(), about
constexpr std::size_t kFormedFloats = std::size_t(1) << 21;  // of R, formed at a time by gram_by_forming()

// A_i is unfolded from the raw input when it is needed: that takes 1/(2m) of the products' operations and
// saves kh*kw times the memory.
class ImplicitConvolutionColumns final : public GradientColumns {
 public:
  ImplicitConvolutionColumns(const Block& block, const SampleStore& store)
      : conv_(block.conv),
        store_(store),
        m_(std::size_t(block.m)),
        n_(std::size_t(block.n)),
        kappa_(std::size_t(block.positions)),
        kernel_(std::size_t(block.conv.kernel_h) * std::size_t(block.conv.kernel_w)),
        bias_(block.bias) {}

  void gram(double* gram, Lanes& lanes) const override {
    std::fill_n(gram, store_.count * store_.count, 0.0);
    // Multiplications of one pair of samples: by their positions, or by u_i formed and used for N pairs.
    const double m = double(m_), n = double(n_), kappa = double(kappa_), count = double(store_.count);
    if (kappa * kappa * (m + n) <= m * n * (1 + 2 * kappa / count)) {
      gram_by_pairs(gram, lanes);
    } else {
      gram_by_forming(gram, lanes);
    }
  }

  // c_i = <G_i, gW A_i [+ gb 1^T]>.
  void project(std::span<const float> g, double* c, Lanes& lanes) const override {
    const Cut samples{store_.count, samples_per_gemm()};
    run_tasks(lanes, samples.tasks(), work(), [&](std::size_t task) {
      const std::size_t begin = samples.begin(task), count = samples.size(task), columns = count * kappa_;
      Workspace& workspace = Workspace::of_this_thread();
      const float* unfolded = unfold_samples(begin, count, 0, std::size_t(conv_.channels_in));
      float* product = workspace.floats(Workspace::kProduct, m_ * columns);
      if (bias_) {
        for (std::size_t o = 0; o < m_; ++o) std::fill_n(product + o * columns, columns, g[m_ * n_ + o]);
      }
      gemm(m_, columns, n_, 1, {g.data(), n_, false}, {unfolded, columns, false}, bias_ ? 1 : 0, product,
           columns);
      for (std::size_t i = 0; i < count; ++i) {
        double sum = 0;
        const float* outer = gradient(begin + i);
        for (std::size_t o = 0; o < m_; ++o) {
          sum += dot(outer + o * kappa_, product + o * columns + i * kappa_, kappa_);
        }
        c[begin + i] = sum;
      }
    });
  }

  // R b = [b_1 G_1 ... b_N G_N] [A_1 ... A_N]^T, by runs of input channels.
  double correct(std::span<const float> g, const double* b, double inverse_lambda, std::span<float> d,
                 Lanes& lanes) const override {
    const Cut channels =
        even_cut(std::size_t(conv_.channels_in), std::max<std::size_t>(1, kWeights / (m_ * kernel_)), 1);
    std::vector<double> inner(channels.tasks());
    run_tasks(lanes, channels.tasks(), work(), [&](std::size_t task) {
      const std::size_t begin = channels.begin(task) * kernel_, columns = channels.size(task) * kernel_;
      add_products(b, channels.begin(task), channels.size(task), d.data() + begin);
      for (std::size_t o = 0; o < m_; ++o) {
        const std::size_t at = o * n_ + begin;
        inner[task] += finish_direction(g.data() + at, inverse_lambda, d.data() + at, columns);
      }
    });
    return std::accumulate(inner.begin(), inner.end(), 0.0) + correct_bias(g, b, inverse_lambda, d);
  }

 private:
  // The block's columns of a run of channels, for `count` samples: [channels*kernel, count*kappa].
  const float* unfold_samples(std::size_t first, std::size_t count, std::size_t channel,
                              std::size_t channels) const {
    const std::size_t columns = count * kappa_;
    float* unfolded = Workspace::of_this_thread().floats(Workspace::kUnfolded, channels * kernel_ * columns);
    for (std::size_t i = 0; i < count; ++i) {
      unfold(conv_, input(first + i), int(channel), int(channel + channels), unfolded + i * kappa_, columns);
    }
    return unfolded;
  }

  // out (m x channels*kernel, ld n) = sum over samples of b_i G_i A_i^T.
  void add_products(const double* b, std::size_t channel, std::size_t channels, float* out) const {
    const Cut samples{store_.count, samples_per_gemm()};
    for (std::size_t s = 0; s < samples.tasks(); ++s) {
      const std::size_t begin = samples.begin(s), count = samples.size(s), columns = count * kappa_;
      const float* unfolded = unfold_samples(begin, count, channel, channels);
      float* scaled = Workspace::of_this_thread().floats(Workspace::kScaled, m_ * columns);
      for (std::size_t i = 0; i < count; ++i) {
        const float weight = float(b[begin + i]);
        const float* outer = gradient(begin + i);
        for (std::size_t o = 0; o < m_; ++o) {
          const float* in = outer + o * kappa_;
          float* row = scaled + o * columns + i * kappa_;
          for (std::size_t k = 0; k < kappa_; ++k) row[k] = weight * in[k];
        }
      }
      gemm(m_, channels * kernel_, columns, 1, {scaled, columns, false}, {unfolded, columns, true},
           s == 0 ? 0 : 1, out, n_);
    }
  }

  double correct_bias(std::span<const float> g, const double* b, double inverse_lambda,
                      std::span<float> d) const {
    if (!bias_) return 0;
    const float* ones = Workspace::of_this_thread().ones(kappa_);
    std::vector<double> sums(m_);
    for (std::size_t i = 0; i < store_.count; ++i) {
      const float* outer = gradient(i);
      for (std::size_t o = 0; o < m_; ++o) sums[o] += b[i] * dot(outer + o * kappa_, ones, kappa_);
    }
    for (std::size_t o = 0; o < m_; ++o) d[m_ * n_ + o] = float(sums[o]);
    return finish_direction(g.data() + m_ * n_, inverse_lambda, d.data() + m_ * n_, m_);
  }

  // (R^T R)_ij = <A_i^T A_j [+ 1 1^T], G_i^T G_j>, one tile of sample pairs at a time.
  void gram_by_pairs(double* gram, Lanes& lanes) const {
    const Cut samples{store_.count, samples_per_gemm()};
    const std::size_t blocks = samples.tasks(), all_channels = std::size_t(conv_.channels_in);
    const double work = 0.5 * double(store_.count * kappa_) * double(store_.count * kappa_) * double(m_ + n_);
    run_tasks(lanes, blocks * (blocks + 1) / 2, work, [&](std::size_t task) {
      std::size_t row = 0;
      while ((row + 1) * (row + 2) / 2 <= task) ++row;
      const std::size_t column = task - row * (row + 1) / 2;
      const std::size_t i0 = samples.begin(row), ni = samples.size(row), j0 = samples.begin(column),
                        nj = samples.size(column);
      const std::size_t wi = ni * kappa_, wj = nj * kappa_;
      Workspace& workspace = Workspace::of_this_thread();
      // Both factors of the tile's rows and columns, samples side by side: [n, wi], [n, wj], [m, wi], [m,
      // wj].
      float* ai = workspace.floats(Workspace::kScaled, (n_ + m_) * (wi + wj));
      float *aj = ai + n_ * wi, *gi = aj + n_ * wj, *gj = gi + m_ * wi;
      for (std::size_t i = 0; i < ni; ++i)
        put_factors(i0 + i, all_channels, ai + i * kappa_, gi + i * kappa_, wi);
      for (std::size_t j = 0; j < nj; ++j)
        put_factors(j0 + j, all_channels, aj + j * kappa_, gj + j * kappa_, wj);
      float* inputs = workspace.floats(Workspace::kProduct, wi * wj);
      float* outputs = workspace.floats(Workspace::kTile, wi * wj);
      if (bias_) std::fill_n(inputs, wi * wj, 1.0f);
      gemm(wi, wj, n_, 1, {ai, wi, true}, {aj, wj, false}, bias_ ? 1 : 0, inputs, wj);
      gemm(wi, wj, m_, 1, {gi, wi, true}, {gj, wj, false}, 0, outputs, wj);
      put_block_products({i0, ni, j0, nj}, kappa_, inputs, outputs, gram, store_.count);
    });
  }

  void put_factors(std::size_t sample, std::size_t channels, float* input, float* output,
                   std::size_t ld) const {
    unfold(conv_, this->input(sample), 0, int(channels), input, ld);
    const float* outer = gradient(sample);
    for (std::size_t o = 0; o < m_; ++o) std::copy_n(outer + o * kappa_, kappa_, output + o * ld);
  }

  // As an explicit block's, with R formed and used a run of input channels at a time.
  void gram_by_forming(double* gram, Lanes& lanes) const {
    const std::size_t per_channel = store_.count * m_ * kernel_;
    const Cut channels{std::size_t(conv_.channels_in), std::max<std::size_t>(1, kFormedFloats / per_channel)};
    AlignedBuffer<float> formed(std::min(channels.chunk, channels.total) * per_channel);
    for (std::size_t c = 0; c < channels.tasks(); ++c) {
      const std::size_t columns = channels.size(c) * kernel_, width = m_ * columns;
      run_tasks(lanes, store_.count, double(store_.count * width) * double(kappa_), [&](std::size_t i) {
        const float* unfolded = unfold_samples(i, 1, channels.begin(c), channels.size(c));
        gemm(m_, columns, kappa_, 1, {gradient(i), kappa_, false}, {unfolded, kappa_, true}, 0,
             formed.data() + i * width, columns);
      });
      add_gram(formed.data(), width, store_.count, width, gram, lanes);
    }
    if (!bias_) return;
    AlignedBuffer<float> sums(store_.count * m_);
    const float* ones = Workspace::of_this_thread().ones(kappa_);
    for (std::size_t i = 0; i < store_.count; ++i) {
      const float* outer = gradient(i);
      for (std::size_t o = 0; o < m_; ++o)
        sums.data()[i * m_ + o] = float(dot(outer + o * kappa_, ones, kappa_));
    }
    add_gram(sums.data(), m_, store_.count, m_, gram, lanes);
  }

  // Of one sample; valid until the next one's is asked for on this thread.
  const float* input(std::size_t sample) const {
    return store_.first.floats(sample * store_.size.first, store_.size.first, Workspace::kWidenedToo);
  }
  const float* gradient(std::size_t sample) const {
    return store_.second.floats(sample * store_.size.second, store_.size.second, Workspace::kWidened);
  }
  std::size_t samples_per_gemm() const { return std::max<std::size_t>(1, kPositions / kappa_); }
  double work() const { return double(store_.count) * double(m_) * double(n_) * double(kappa_); }

  const ConvolutionGeometry conv_;
  const SampleStore& store_;
  std::size_t m_, n_, kappa_, kernel_;
  bool bias_;
};

}  // namespace

std::unique_ptr<GradientColumns> implicit_convolution_columns(const Block& block, const SampleStore& store) {
  return std::make_unique<ImplicitConvolutionColumns>(block, store);
}

}  // namespace seng
