#include "actors/engine/cuda/kernels.h"
#include "actors/engine/cuda/launch.h"

namespace seng::cuda {
namespace {

__device__ inline bool is_finite(double x) {
  return x - x == 0;
}

__global__ void damped_gram_kernel(DampedGram of, const double* gram, double* k) {
  for (std::size_t at = grid_index(); at < of.n * of.n; at += grid_size()) {
    const std::size_t i = at / of.n, j = at % of.n;
    const double product = gram[i < j ? j * of.n + i : at];
    k[at] = (i / of.own == j / of.own ? product / double(of.own) : 0.0) + (i == j ? of.lambda : 0.0);
  }
}

// A thread looks at its own entries in their order, then a block's threads along one tree.
__global__ void find_not_finite_kernel(const double* matrix, std::size_t n, long long* found) {
  __shared__ long long first[kBlockThreads];
  const unsigned thread = threadIdx.x;
  long long mine = -1;
  for (std::size_t at = grid_index(); at < n * n && mine < 0; at += grid_size())
    if (at % n <= at / n && !is_finite(matrix[at])) mine = static_cast<long long>(at);
  first[thread] = mine;
  __syncthreads();
  for (unsigned half = kBlockThreads / 2; half > 0; half /= 2) {
    if (thread < half) {
      const long long other = first[thread + half];
      if (other >= 0 && (first[thread] < 0 || other < first[thread])) first[thread] = other;
    }
    __syncthreads();
  }
  if (thread == 0) found[blockIdx.x] = first[0];
}

__global__ void sample_weights_kernel(const double* b, double divisor, float* weights, std::size_t count) {
  for (std::size_t i = grid_index(); i < count; i += grid_size())
    weights[i] = static_cast<float>(b[i] / divisor);
}

__global__ void bucket_weights_kernel(const double* b, double divisor, bool signs_of_b, float* x, float* y,
                                      std::size_t count) {
  for (std::size_t i = grid_index(); i < count; i += grid_size()) {
    const double weight = b[i] / divisor;
    x[i] = static_cast<float>(sqrt(weight < 0 ? -weight : weight));
    y[i] = signs_of_b && weight < 0 ? -x[i] : x[i];
  }
}

}  // namespace

void launch_damped_gram(Stream stream, const DampedGram& of, const double* gram, double* k) {
  SENG_LAUNCH(damped_gram_kernel, grid_for(of.n * of.n), kBlockThreads, stream, of, gram, k);
}

void launch_find_not_finite(Stream stream, const double* matrix, std::size_t n, long long* found) {
  SENG_LAUNCH(find_not_finite_kernel, dim3(kFindBlocks), kBlockThreads, stream, matrix, n, found);
}

void launch_sample_weights(Stream stream, const double* b, double divisor, float* weights,
                           std::size_t count) {
  SENG_LAUNCH(sample_weights_kernel, grid_for(count), kBlockThreads, stream, b, divisor, weights, count);
}

void launch_bucket_weights(Stream stream, const double* b, double divisor, bool signs_of_b, float* x,
                           float* y, std::size_t count) {
  SENG_LAUNCH(bucket_weights_kernel, grid_for(count), kBlockThreads, stream, b, divisor, signs_of_b, x, y,
              count);
}

}  // namespace seng::cuda
