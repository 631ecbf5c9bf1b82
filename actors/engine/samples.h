// The gradients of a block's N curvature samples as the columns of R, kept where a backend computes: what
// SENG does with them, without their leaving it. The mathematics is actors/optim/gradient_columns.h's.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "actors/engine/bf16.h"
#include "actors/engine/block.h"
#include "actors/engine/memory.h"

namespace seng {

// `factors` 0: R's columns are rows of `first`, [samples, parameters]. Else u_i = sum over `factors` pairs of
// vec(g_k a_k^T), a_k rows of `first`, [samples, factors, n + 1 with a bias], g_k of `second`, [samples,
// factors, m]; the parameters are [m, n] and with a bias m more, those of the last entries of a_k.
// `convolution`: the factors are its output's positions, and what is given is raw: `first` its input,
// [samples, C_in, H_in, W_in], `second` its output's gradient, [samples, m, factors].
struct SamplesPlan {
  std::size_t samples = 0, parameters = 0;
  std::size_t factors = 0, m = 0, n = 0;
  bool bias = false;
  std::optional<ConvolutionGeometry> convolution;
  // Room for what is made of a convolution's samples at a time, about: a few such runs are held. It is part
  // of the bits.
  std::size_t run_floats = std::size_t{1} << 23;

  std::size_t rows() const { return samples * (factors > 0 ? factors : 1); }
  std::size_t width() const { return factors > 0 ? n + (bias ? 1 : 0) : parameters; }
  // Of all samples.
  std::size_t first_floats() const {
    if (!convolution) return rows() * width();
    return samples * std::size_t(convolution->channels_in) * std::size_t(convolution->height_in) *
           std::size_t(convolution->width_in);
  }
  std::size_t second_floats() const { return factors > 0 ? rows() * m : 0; }
};

// An estimate of R b for factors: pair (i, k) is added into one of `count` pairs of rows with a random sign
// s, x_i s a_k to one and y_i s g_k to the other, and R b is the sum over these pairs of rows of their
// products (actors/optim/approximate_columns.h).
struct SampleBuckets {
  std::size_t count = 0;
  std::vector<std::uint32_t> of_pair;  // [samples, factors], each below `count`
  std::vector<float> sign;             // likewise
  // x_i = sqrt|b_i|; y_i is x_i with b_i's sign, or without it.
  bool signs_of_b = true;

  std::vector<float> x(const double* b, std::size_t samples) const {
    std::vector<float> out(samples);
    for (std::size_t i = 0; i < samples; ++i) out[i] = static_cast<float>(std::sqrt(std::abs(b[i])));
    return out;
  }
  std::vector<float> y(const double* b, std::size_t samples) const {
    std::vector<float> out = x(b, samples);
    for (std::size_t i = 0; i < samples; ++i)
      if (signs_of_b && b[i] < 0) out[i] = -out[i];
    return out;
  }
};

// What forming K = lambda I + R^T R / N came to.
struct SampleSystem {
  bool formed = false;
  // Where it is not: the first entry of R^T R that is not finite; without one K is not positive definite.
  struct Entry {
    std::size_t i, j;
  };
  std::optional<Entry> overflow;
};

// Pointers are the host's, or `where` they are said to be. Each call returns when its result is there, but
// solve(), whose result stays with the device, and those whose d does. Sums are floats, R^T R's in double
// over runs of at most 16,384 columns. Backend's rules hold: one thread at a time, equal bits.
class Samples {
 public:
  virtual ~Samples() = default;
  // Takes the values. `second` only with factors.
  virtual void put(const float* first, const float* second) = 0;
  // The same of values kept as bf16, which are widened where they come to.
  virtual void put_bf16(const Bf16* first, const Bf16* second) = 0;
  // Once, with factors: correct() is from then on by this estimate.
  virtual void set_buckets(const SampleBuckets& buckets) = 0;
  virtual void gram(double* gram) = 0;                  // lower triangle of R^T R, [samples, samples]
  virtual void project(const float* g, double* c) = 0;  // c = R^T g
  // d = (g - R b) * inverse_lambda
  virtual void correct(const float* g, const double* b, double inverse_lambda, float* d) = 0;

  // Forms K (with more than one worker its diagonal blocks, over N / workers: actors/optim/damped_system.h)
  // and keeps its Cholesky factor, in double. What is below goes by it, and leaves the device only with d:
  virtual SampleSystem form_system(double lambda, std::size_t workers) = 0;
  // d = (g - R b) * inverse_lambda, b = K^-1 R^T g / N
  virtual void precondition(const float* g, double inverse_lambda, float* d,
                            Memory where = Memory::kHost) = 0;
  // The same in two halves, where the system is one of sketched samples and g sketched for it: b, which stays
  // with the system; then d by the b of `solved`, samples of the same backend.
  virtual void solve(const float* g, Memory where = Memory::kHost) = 0;
  virtual void correct_by(const float* g, const Samples& solved, double inverse_lambda, float* d,
                          Memory where = Memory::kHost) = 0;

  virtual std::size_t bytes() const = 0;  // of the device, held
};

}  // namespace seng
