#include "actors/engine/cuda/kernels.h"
#include "actors/engine/cuda/launch.h"

namespace seng::cuda {
namespace {

__device__ inline std::size_t packed_row(std::size_t i) {
  return i * (i + 1) / 2;
}

__device__ inline double not_below_zero(float eigenvalue) {
  return eigenvalue < 0 ? 0.0 : double(eigenvalue);
}

__global__ void add_triangle_kernel(const float* part, double* sums, std::size_t n) {
  for (std::size_t at = grid_index(); at < n * n; at += grid_size()) {
    const std::size_t i = at / n, j = at % n;
    if (j <= i) sums[packed_row(i) + j] += part[at];
  }
}

__global__ void unpack_kernel(const float* packed, float* full, std::size_t n) {
  for (std::size_t at = grid_index(); at < n * n; at += grid_size()) {
    const std::size_t i = at / n, j = at % n;
    full[at] = j <= i ? packed[packed_row(i) + j] : packed[packed_row(j) + i];
  }
}

__global__ void blend_mean_kernel(MeanBlend blend, const double* sums, float* mean, std::size_t count) {
  for (std::size_t i = grid_index(); i < count; i += grid_size()) {
    const double now = sums[i] * blend.scale;
    mean[i] = static_cast<float>(blend.before == nullptr
                                     ? now
                                     : blend.retained * double(blend.before[i]) + (1 - blend.retained) * now);
  }
}

__global__ void join_bias_kernel(const float* gradient, float* matrix, std::size_t m, std::size_t weights) {
  for (std::size_t at = grid_index(); at < m * (weights + 1); at += grid_size()) {
    const std::size_t row = at / (weights + 1), column = at % (weights + 1);
    matrix[at] = column < weights ? gradient[row * weights + column] : gradient[m * weights + row];
  }
}

__global__ void split_bias_kernel(const float* matrix, float* gradient, std::size_t m, std::size_t weights) {
  for (std::size_t at = grid_index(); at < m * (weights + 1); at += grid_size()) {
    const std::size_t row = at / (weights + 1), column = at % (weights + 1);
    gradient[column < weights ? row * weights + column : m * weights + row] = matrix[at];
  }
}

__global__ void divide_by_eigenvalues_kernel(KroneckerValues values, double lambda, float* x) {
  for (std::size_t at = grid_index(); at < values.m * values.n; at += grid_size()) {
    const double g = not_below_zero(values.g[at / values.n]), a = not_below_zero(values.a[at % values.n]);
    x[at] = static_cast<float>(double(x[at]) / (g * a + lambda));
  }
}

// A block adds one row: a thread its own elements in their order, then the threads along one tree.
__global__ void weighted_squares_kernel(KroneckerValues values, const float* x, double* out) {
  __shared__ double sums[kBlockThreads];
  const unsigned thread = threadIdx.x;
  const std::size_t row = blockIdx.x;
  double sum = 0;
  for (std::size_t j = thread; j < values.n; j += kBlockThreads) {
    const double value = x[row * values.n + j];
    sum += not_below_zero(values.a[j]) * value * value;
  }
  sums[thread] = sum;
  __syncthreads();
  for (unsigned half = kBlockThreads / 2; half > 0; half /= 2) {
    if (thread < half) sums[thread] += sums[thread + half];
    __syncthreads();
  }
  if (thread == 0) out[row] = not_below_zero(values.g[row]) * sums[0];
}

}  // namespace

void launch_add_triangle(Stream stream, const float* part, double* sums, std::size_t n) {
  SENG_LAUNCH(add_triangle_kernel, grid_for(n * n), kBlockThreads, stream, part, sums, n);
}

void launch_unpack(Stream stream, const float* packed, float* full, std::size_t n) {
  SENG_LAUNCH(unpack_kernel, grid_for(n * n), kBlockThreads, stream, packed, full, n);
}

void launch_blend_mean(Stream stream, const MeanBlend& blend, const double* sums, float* mean,
                       std::size_t count) {
  SENG_LAUNCH(blend_mean_kernel, grid_for(count), kBlockThreads, stream, blend, sums, mean, count);
}

void launch_join_bias(Stream stream, const float* gradient, float* matrix, std::size_t m,
                      std::size_t weights) {
  SENG_LAUNCH(join_bias_kernel, grid_for(m * (weights + 1)), kBlockThreads, stream, gradient, matrix, m,
              weights);
}

void launch_split_bias(Stream stream, const float* matrix, float* gradient, std::size_t m,
                       std::size_t weights) {
  SENG_LAUNCH(split_bias_kernel, grid_for(m * (weights + 1)), kBlockThreads, stream, matrix, gradient, m,
              weights);
}

void launch_divide_by_eigenvalues(Stream stream, const KroneckerValues& values, double lambda, float* x) {
  SENG_LAUNCH(divide_by_eigenvalues_kernel, grid_for(values.m * values.n), kBlockThreads, stream, values,
              lambda, x);
}

void launch_weighted_squares(Stream stream, const KroneckerValues& values, const float* x, double* out) {
  SENG_LAUNCH(weighted_squares_kernel, dim3(static_cast<unsigned>(values.m)), kBlockThreads, stream, values,
              x, out);
}

}  // namespace seng::cuda
