// Random curvature problems and their exact answers: everything dense, in double, by the definition. Kept as
// plain as can be: it is the judge of actors/optim.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "actors/engine/block.h"
#include "actors/optim/curvature.h"

namespace seng::testing {

Block linear_block(int in, int out, bool bias);
Block batch_norm_block(int channels, int positions);
struct ConvolutionCase {
  int channels_in, channels_out, height, width, kernel_h, kernel_w, stride, padding;
  bool bias;
};
Block convolution_block(const ConvolutionCase& c);

// A seed that differs from run to run; SENG_TEST_SEED repeats one. Give it to SCOPED_TRACE.
std::uint64_t fresh_seed();

std::vector<float> random_floats(std::mt19937_64& random, std::size_t count, double mean = 0,
                                 double deviation = 1);

// All N samples' factors of one block.
struct Problem {
  Block block;
  int samples = 0;
  std::vector<float> activations, gradients;  // as SampleFactors, all N
  std::vector<float> g;  // a gradient to precondition, partly in the span of the samples'

  SampleFactors factors(int first, int count) const;
};
Problem random_problem(const Block& block, int samples, std::mt19937_64& random);

// u_i in the parameters' layout, by loops over the definition.
std::vector<double> sample_gradient(const Problem& problem, int sample);

// U U^T + lambda I with U = [u_i] / sqrt(N); count x count.
struct DenseFisher {
  explicit DenseFisher(const Problem& problem);
  double norm() const;                                                          // largest eigenvalue of U U^T
  std::vector<double> solve(double lambda, const std::vector<float>& g) const;  // (U U^T + lambda I)^-1 g

  std::size_t count = 0;
  std::vector<double> matrix;  // U U^T
};

// F d for problems too large for DenseFisher.
std::vector<double> apply_fisher(const Problem& problem, double lambda, const std::vector<float>& d);

// A curvature over the problem's samples in `micros` fragments, not yet accepted. `order`: of the fragments.
Curvature with_fragments(const Problem& problem, const CurvatureForm& form, int micros, std::uint64_t step,
                         double lambda, const std::vector<std::uint32_t>& order = {});

// How far a direction of cut factors that are stored as bf16 may be from that of float products: b_i g_k is
// rounded by 2^-8 of it at most, which is as much of |R b| / lambda = |g / lambda - d|, twice where pairs
// cancel. 0 of other forms.
double bf16_product_error(const CurvatureForm& form, Precision stored, const std::vector<float>& g,
                          double lambda, const std::vector<float>& d);

double norm(const std::vector<double>& x);
double norm(const std::vector<float>& x);
// |a - b|; NaN if any value is not finite, so that a comparison with it fails.
double distance(const std::vector<float>& a, const std::vector<double>& b);

}  // namespace seng::testing
