#include "tests/actors/optim/problem.h"

#include <cmath>
#include <cstdlib>
#include <limits>

#include <gtest/gtest.h>

namespace seng::testing {

Block linear_block(int in, int out, bool bias) {
  Block block;
  block.name = "linear";
  block.kind = BlockKind::kLinear;
  block.m = out;
  block.n = in;
  block.bias = bias;
  block.count = std::size_t(out) * std::size_t(in) + (bias ? std::size_t(out) : 0);
  return block;
}

Block batch_norm_block(int channels, int positions) {
  Block block;
  block.name = "norm";
  block.kind = BlockKind::kBatchNorm;
  block.m = channels;
  block.n = 1;
  block.positions = positions;
  block.bias = true;
  block.count = 2 * std::size_t(channels);
  return block;
}

Block convolution_block(const ConvolutionCase& c) {
  Block block;
  block.name = "convolution";
  block.kind = BlockKind::kConvolution;
  const int height = (c.height + 2 * c.padding - c.kernel_h) / c.stride + 1;
  const int width = (c.width + 2 * c.padding - c.kernel_w) / c.stride + 1;
  block.conv = {c.channels_in, c.height,   c.width,    c.channels_out, height,
                width,         c.kernel_h, c.kernel_w, c.stride,       c.padding};
  block.m = c.channels_out;
  block.n = std::int64_t(c.channels_in) * c.kernel_h * c.kernel_w;
  block.positions = std::int64_t(height) * width;
  block.bias = c.bias;
  block.count = std::size_t(block.m * block.n + (c.bias ? block.m : 0));
  return block;
}

std::uint64_t fresh_seed() {
  if (const char* fixed = std::getenv("SENG_TEST_SEED")) return std::strtoull(fixed, nullptr, 10);
  std::random_device device;
  return (std::uint64_t(device()) << 32) | device();
}

std::vector<float> random_floats(std::mt19937_64& random, std::size_t count, double mean, double deviation) {
  std::normal_distribution<double> normal(mean, deviation);
  std::vector<float> values(count);
  for (float& value : values) value = float(normal(random));
  return values;
}

namespace {

std::size_t input_size(const Block& block) {
  const ConvolutionGeometry& c = block.conv;
  if (block.kind == BlockKind::kConvolution) return std::size_t(c.channels_in * c.height_in * c.width_in);
  return std::size_t(block.kind == BlockKind::kLinear ? block.n : 0);
}

std::size_t output_size(const Block& block) {
  return block.kind == BlockKind::kBatchNorm ? block.count : std::size_t(block.m * block.positions);
}

std::vector<double> convolution_gradient(const Block& block, const float* input, const float* gradient) {
  const ConvolutionGeometry& c = block.conv;
  std::vector<double> u(block.count, 0.0);
  for (int o = 0; o < c.channels_out; ++o)
    for (int y = 0; y < c.height_out; ++y)
      for (int x = 0; x < c.width_out; ++x) {
        const double g = gradient[(o * c.height_out + y) * c.width_out + x];
        if (block.bias) u[std::size_t(block.m * block.n + o)] += g;
        for (int ch = 0; ch < c.channels_in; ++ch)
          for (int ky = 0; ky < c.kernel_h; ++ky)
            for (int kx = 0; kx < c.kernel_w; ++kx) {
              const int iy = y * c.stride + ky - c.padding, ix = x * c.stride + kx - c.padding;
              if (iy < 0 || iy >= c.height_in || ix < 0 || ix >= c.width_in) continue;
              u[std::size_t(((o * c.channels_in + ch) * c.kernel_h + ky) * c.kernel_w + kx)] +=
                  g * double(input[(ch * c.height_in + iy) * c.width_in + ix]);
            }
      }
  return u;
}

}  // namespace

SampleFactors Problem::factors(int first, int count) const {
  return {count, activations.data() + std::size_t(first) * input_size(block),
          gradients.data() + std::size_t(first) * output_size(block)};
}

Problem random_problem(const Block& block, int samples, std::mt19937_64& random) {
  Problem problem;
  problem.block = block;
  problem.samples = samples;
  // Inputs that are not centred, as after a ReLU: the samples' gradients are then correlated.
  problem.activations = random_floats(random, std::size_t(samples) * input_size(block), 0.4, 1.0);
  problem.gradients = random_floats(random, std::size_t(samples) * output_size(block), 0.1, 0.7);
  problem.g = random_floats(random, block.count);
  const double in_span = problem.block.count > 0 ? 2.0 / samples : 0;
  for (int i = 0; i < samples; i += 3) {
    const std::vector<double> u = sample_gradient(problem, i);
    for (std::size_t j = 0; j < u.size(); ++j) problem.g[j] += float(in_span * u[j]);
  }
  return problem;
}

std::vector<double> sample_gradient(const Problem& problem, int sample) {
  const Block& block = problem.block;
  const SampleFactors f = problem.factors(sample, 1);
  if (block.kind == BlockKind::kConvolution) return convolution_gradient(block, f.activations, f.gradients);
  if (block.kind == BlockKind::kBatchNorm) return {f.gradients, f.gradients + block.count};
  std::vector<double> u(block.count, 0.0);
  const std::size_t m = std::size_t(block.m), n = std::size_t(block.n);
  for (std::size_t o = 0; o < m; ++o) {
    for (std::size_t j = 0; j < n; ++j) u[o * n + j] = double(f.gradients[o]) * double(f.activations[j]);
    if (block.bias) u[m * n + o] = f.gradients[o];
  }
  return u;
}

DenseFisher::DenseFisher(const Problem& problem) : count(problem.block.count), matrix(count * count, 0.0) {
  for (int i = 0; i < problem.samples; ++i) {
    const std::vector<double> u = sample_gradient(problem, i);
    for (std::size_t a = 0; a < count; ++a)
      for (std::size_t b = 0; b < count; ++b) matrix[a * count + b] += u[a] * u[b] / problem.samples;
  }
}

double DenseFisher::norm() const {
  std::vector<double> x(count, 1.0);
  double value = 0;
  for (int iteration = 0; iteration < 100; ++iteration) {
    std::vector<double> y(count, 0.0);
    for (std::size_t a = 0; a < count; ++a)
      for (std::size_t b = 0; b < count; ++b) y[a] += matrix[a * count + b] * x[b];
    value = seng::testing::norm(y);
    for (std::size_t a = 0; a < count; ++a) x[a] = y[a] / value;
  }
  return value;
}

// Gaussian elimination with partial pivoting.
std::vector<double> DenseFisher::solve(double lambda, const std::vector<float>& g) const {
  std::vector<double> a = matrix, x(g.begin(), g.end());
  for (std::size_t i = 0; i < count; ++i) a[i * count + i] += lambda;
  for (std::size_t k = 0; k < count; ++k) {
    std::size_t pivot = k;
    for (std::size_t i = k + 1; i < count; ++i)
      if (std::abs(a[i * count + k]) > std::abs(a[pivot * count + k])) pivot = i;
    for (std::size_t j = 0; j < count; ++j) std::swap(a[k * count + j], a[pivot * count + j]);
    std::swap(x[k], x[pivot]);
    for (std::size_t i = k + 1; i < count; ++i) {
      const double factor = a[i * count + k] / a[k * count + k];
      for (std::size_t j = k; j < count; ++j) a[i * count + j] -= factor * a[k * count + j];
      x[i] -= factor * x[k];
    }
  }
  for (std::size_t k = count; k-- > 0;) {
    for (std::size_t j = k + 1; j < count; ++j) x[k] -= a[k * count + j] * x[j];
    x[k] /= a[k * count + k];
  }
  return x;
}

std::vector<double> apply_fisher(const Problem& problem, double lambda, const std::vector<float>& d) {
  std::vector<double> result(d.size());
  for (std::size_t j = 0; j < d.size(); ++j) result[j] = lambda * double(d[j]);
  for (int i = 0; i < problem.samples; ++i) {
    const std::vector<double> u = sample_gradient(problem, i);
    double inner = 0;
    for (std::size_t j = 0; j < d.size(); ++j) inner += u[j] * double(d[j]);
    for (std::size_t j = 0; j < d.size(); ++j) result[j] += u[j] * inner / problem.samples;
  }
  return result;
}

Curvature with_fragments(const Problem& problem, const CurvatureForm& form, int micros, std::uint64_t step,
                         double lambda, const std::vector<std::uint32_t>& order) {
  const int per_micro = problem.samples / micros;
  EXPECT_EQ(per_micro * micros, problem.samples);
  Curvature curvature(problem.block, {.micro_batches = micros, .samples_per_micro = per_micro, .form = form});
  const FragmentShape shape = fragment_shape(problem.block, form, per_micro);
  curvature.begin_refresh(step, lambda);
  std::vector<std::uint32_t> arrivals = order;
  for (int micro = 0; order.empty() && micro < micros; ++micro) arrivals.push_back(std::uint32_t(micro));
  for (const std::uint32_t micro : arrivals) {
    const auto values =
        make_fragment(problem.block, shape, problem.factors(int(micro) * per_micro, per_micro));
    const Status added = curvature.add_fragment(micro, values);
    EXPECT_TRUE(added) << added.error().message;
  }
  EXPECT_TRUE(curvature.complete());
  return curvature;
}

double bf16_product_error(const CurvatureForm& form, Precision stored, const std::vector<float>& g,
                          double lambda, const std::vector<float>& d) {
  if (form.representation != Representation::kLowRank || stored != Precision::kBf16) return 0;
  std::vector<double> scaled(g.begin(), g.end());
  for (double& value : scaled) value /= lambda;
  return std::ldexp(distance(d, scaled), -7);
}

double norm(const std::vector<double>& x) {
  double sum = 0;
  for (const double value : x) sum += value * value;
  return std::sqrt(sum);
}

double norm(const std::vector<float>& x) {
  return norm(std::vector<double>(x.begin(), x.end()));
}

double distance(const std::vector<float>& a, const std::vector<double>& b) {
  EXPECT_EQ(a.size(), b.size());
  double sum = 0;
  for (std::size_t j = 0; j < a.size(); ++j) sum += (double(a[j]) - b[j]) * (double(a[j]) - b[j]);
  return std::isfinite(sum) ? std::sqrt(sum) : std::numeric_limits<double>::quiet_NaN();
}

}  // namespace seng::testing
