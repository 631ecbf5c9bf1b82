#include "actors/engine/cuda/kernels.h"
#include "actors/engine/cuda/launch.h"

namespace seng::cuda {
namespace {

__global__ void add_to_kernel(const float* part, double* sums, std::size_t rows, std::size_t columns,
                              std::size_t ld) {
  for (std::size_t i = grid_index(); i < rows * columns; i += grid_size())
    sums[i / columns * ld + i % columns] += part[i];
}

// A thread adds the p x p products of a pair of samples, in their order.
__global__ void block_products_kernel(const double* a, const double* b, double* gram, std::size_t ld,
                                      std::size_t rows, std::size_t columns, std::size_t p) {
  const std::size_t width = columns * p;
  for (std::size_t i = grid_index(); i < rows * columns; i += grid_size()) {
    const std::size_t row = i / columns, column = i % columns;
    double sum = 0;
    for (std::size_t k = 0; k < p; ++k) {
      const std::size_t at = (row * p + k) * width + column * p;
      for (std::size_t l = 0; l < p; ++l) sum += a[at + l] * b[at + l];
    }
    gram[row * ld + column] = sum;
  }
}

// A block adds one row: a thread its own elements in their order, then the threads along one tree.
__global__ void row_dots_kernel(const float* a, const float* b, std::size_t width, double* out) {
  __shared__ double sums[kBlockThreads];
  const unsigned thread = threadIdx.x;
  const std::size_t row = blockIdx.x;
  double sum = 0;
  for (std::size_t i = thread; i < width; i += kBlockThreads)
    sum += double(a[row * width + i]) * double(b[row * width + i]);
  sums[thread] = sum;
  __syncthreads();
  for (unsigned half = kBlockThreads / 2; half > 0; half /= 2) {
    if (thread < half) sums[thread] += sums[thread + half];
    __syncthreads();
  }
  if (thread == 0) out[row] = sums[0];
}

__global__ void scale_rows_kernel(const float* x, const float* weights, float* y, std::size_t rows,
                                  std::size_t width) {
  for (std::size_t i = grid_index(); i < rows * width; i += grid_size()) y[i] = weights[i / width] * x[i];
}

__global__ void unfold_kernel(const float* x, Unfolding of, std::size_t rows, std::size_t begin,
                              std::size_t columns, float* out) {
  const std::size_t positions = std::size_t(of.height_out) * of.width_out;
  const int kernel = of.kernel_h * of.kernel_w;
  for (std::size_t i = grid_index(); i < rows * columns; i += grid_size()) {
    const std::size_t row = i / columns, column = begin + i % columns;
    const int channel = static_cast<int>(column / kernel), place = static_cast<int>(column % kernel);
    const int position = static_cast<int>(row % positions);
    const int h = position / of.width_out * of.stride - of.padding + place / of.kernel_w;
    const int w = position % of.width_out * of.stride - of.padding + place % of.kernel_w;
    float value = 0;
    if (channel == of.input.c) {
      value = 1;
    } else if (h >= 0 && h < of.input.h && w >= 0 && w < of.input.w) {
      value =
          x[of.input.at(row / positions * of.input.positions() + std::size_t(h) * of.input.w + w, channel)];
    }
    out[i] = value;
  }
}

// A thread adds one column of one bucket.
__global__ void bucket_sums_kernel(BucketSums of, const float* rows, std::size_t width, bool add,
                                   float* sums) {
  for (std::size_t i = grid_index(); i < of.buckets * width; i += grid_size()) {
    const std::size_t bucket = i / width, column = i % width;
    double sum = add ? sums[i] : 0;
    for (std::size_t at = of.begins[bucket]; at < of.begins[bucket + 1]; ++at) {
      const std::size_t pair = of.order[at];
      sum += double(of.weights[pair / of.p] * of.signs[pair]) * double(rows[pair * width + column]);
    }
    sums[i] = static_cast<float>(sum);
  }
}

__global__ void scaled_sum_kernel(const float* x, float factor, float* y, float keep, std::size_t count) {
  for (std::size_t i = grid_index(); i < count; i += grid_size()) y[i] = keep * y[i] + factor * x[i];
}

}  // namespace

void launch_unfold(Stream stream, const float* x, const Unfolding& of, int samples, std::size_t begin,
                   std::size_t columns, float* rows) {
  const std::size_t count = std::size_t(samples) * of.height_out * of.width_out;
  SENG_LAUNCH(unfold_kernel, grid_for(count * columns), kBlockThreads, stream, x, of, count, begin, columns,
              rows);
}

void launch_bucket_sums(Stream stream, const BucketSums& of, const float* rows, std::size_t width, bool add,
                        float* sums) {
  SENG_LAUNCH(bucket_sums_kernel, grid_for(of.buckets * width), kBlockThreads, stream, of, rows, width, add,
              sums);
}

void launch_scaled_sum(Stream stream, const float* x, float factor, float* y, float keep, std::size_t count) {
  SENG_LAUNCH(scaled_sum_kernel, grid_for(count), kBlockThreads, stream, x, factor, y, keep, count);
}

void launch_add_to(Stream stream, const float* part, double* sums, std::size_t rows, std::size_t columns,
                   std::size_t ld) {
  SENG_LAUNCH(add_to_kernel, grid_for(rows * columns), kBlockThreads, stream, part, sums, rows, columns, ld);
}

void launch_block_products(Stream stream, const double* a, const double* b, double* gram, std::size_t ld,
                           std::size_t rows, std::size_t columns, std::size_t p) {
  SENG_LAUNCH(block_products_kernel, grid_for(rows * columns), kBlockThreads, stream, a, b, gram, ld, rows,
              columns, p);
}

void launch_row_dots(Stream stream, const float* a, const float* b, std::size_t rows, std::size_t width,
                     double* out) {
  SENG_LAUNCH(row_dots_kernel, dim3(static_cast<unsigned>(rows)), kBlockThreads, stream, a, b, width, out);
}

void launch_scale_rows(Stream stream, const float* x, const float* weights, float* y, std::size_t rows,
                       std::size_t width) {
  SENG_LAUNCH(scale_rows_kernel, grid_for(rows * width), kBlockThreads, stream, x, weights, y, rows, width);
}

}  // namespace seng::cuda
