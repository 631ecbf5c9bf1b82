#include "actors/engine/cuda/launch.h"
#include "actors/engine/cuda/resident_kernels.h"

namespace seng::cuda {
namespace {

constexpr unsigned kRunThreads = 128;
constexpr unsigned kPartialSums = 64;  // of dot(): four of 16

// Rounded, whatever comes next.
__device__ inline float product(float a, float b) {
#ifdef __CUDA_ARCH__
  return __fmul_rn(a, b);
#else
  return a * b;
#endif
}
__device__ inline float sum(float a, float b) {
#ifdef __CUDA_ARCH__
  return __fadd_rn(a, b);
#else
  return a + b;
#endif
}
__device__ inline float quotient(float a, float b) {
#ifdef __CUDA_ARCH__
  return __fdiv_rn(a, b);
#else
  return a / b;
#endif
}

__global__ void divide_kernel(float* x, float by, std::size_t count) {
  for (std::size_t i = grid_index(); i < count; i += grid_size()) x[i] = quotient(x[i], by);
}

__global__ void product_kernel(const float* x, float factor, float* y, std::size_t count) {
  for (std::size_t i = grid_index(); i < count; i += grid_size()) y[i] = product(x[i], factor);
}

// What dot() makes of its partial sums, and of what is behind the last whole 16.
__device__ float total(const float* s, const float* a, const float* b, std::size_t first, std::size_t count) {
  float v[16];
  for (int i = 0; i < 16; ++i) v[i] = sum(sum(s[i], s[16 + i]), sum(s[32 + i], s[48 + i]));
  float rest = 0;
  for (std::size_t i = first; i < count; ++i) rest = sum(rest, product(a[i], b[i]));
  float half[2];
  for (int h = 0; h < 2; ++h) {
    const float* w = v + 8 * h;
    half[h] = sum(sum(sum(w[0], w[1]), sum(w[2], w[3])), sum(sum(w[4], w[5]), sum(w[6], w[7])));
  }
  return sum(sum(half[0], half[1]), rest);
}

// A block takes a run, a thread one of the partial sums.
__global__ void dot_parts_kernel(const float* all_g, const float* all_d, const ResidentRun* runs,
                                 float* parts) {
  __shared__ float sums[3][kPartialSums];
  const ResidentRun run = runs[blockIdx.x];
  const float *g = all_g + run.place, *d = all_d + run.place;
  const unsigned thread = threadIdx.x;
  float gd = 0, gg = 0, dd = 0;
  const auto add = [&](std::size_t i) {
    gd = sum(gd, product(g[i], d[i]));
    gg = sum(gg, product(g[i], g[i]));
    dd = sum(dd, product(d[i], d[i]));
  };
  std::size_t done = 0;
  for (; done + kPartialSums <= run.count; done += kPartialSums) add(done + thread);
  for (; done + 16 <= run.count; done += 16)
    if (thread < 16) add(done + thread);
  sums[0][thread] = gd, sums[1][thread] = gg, sums[2][thread] = dd;
  __syncthreads();
  if (thread >= 3) return;
  const float* a = thread == 2 ? d : g;
  const float* b = thread == 1 ? g : d;
  parts[3 * blockIdx.x + thread] = total(sums[thread], a, b, done, run.count);
}

__global__ void find_not_finite_kernel(const float* x, const ResidentRun* runs, std::int32_t* found) {
  __shared__ std::int32_t any[kRunThreads];
  const ResidentRun run = runs[blockIdx.x];
  std::int32_t mine = 0;
  for (std::uint32_t i = threadIdx.x; i < run.count; i += kRunThreads) {
    const float value = x[run.place + i];
    if (!(value - value == 0)) mine = 1;
  }
  any[threadIdx.x] = mine;
  __syncthreads();
  if (threadIdx.x > 0) return;
  for (unsigned i = 1; i < kRunThreads; ++i) mine = mine != 0 || any[i] != 0 ? 1 : 0;
  found[blockIdx.x] = mine;
}

// As momentum_update() of actors/optim/update.h.
__global__ void momentum_kernel(UpdateCoefficients k, const float* d, const ResidentRun* runs,
                                float* momentum, float* weights) {
  const ResidentRun run = runs[blockIdx.x];
  for (std::uint32_t i = threadIdx.x; i < run.count; i += kRunThreads) {
    float &m = momentum[run.offset + i], &w = weights[run.offset + i];
    const float step = sum(product(k.scale, d[run.place + i]), product(k.weight_decay, w));
    const float moved = sum(product(k.momentum, m), step);
    m = moved;
    const float by = k.nesterov ? sum(step, product(k.momentum, moved)) : moved;
    w = sum(w, -product(k.lr, by));
  }
}

__global__ void running_statistics_kernel(const float* means, const ResidentRun* runs, float* running) {
  const ResidentRun run = runs[blockIdx.x];
  for (std::uint32_t i = threadIdx.x; i < run.count; i += kRunThreads) {
    float& value = running[run.offset + i];
    value = sum(product(0.9f, value), product(0.1f, means[run.place + i]));
  }
}

template <class Value>
__device__ float listed(const SketchList& list, std::size_t row, const Value& value) {
  std::uint32_t i = list.begins[row];
  float all = 0;
  if (!list.adds) {
    all = product(list.factor[i], value(list.index[i]));
    ++i;
  }
  for (; i < list.begins[row + 1]; ++i) all = sum(all, product(list.factor[i], value(list.index[i])));
  return all;
}

__global__ void sketch_columns_kernel(const float* g, std::size_t m, std::size_t columns,
                                      const std::uint32_t* read, std::size_t reads, SketchList right,
                                      float* half) {
  for (std::size_t i = grid_index(); i < reads * right.rows; i += grid_size()) {
    const std::size_t row = read[i / right.rows];
    half[i] = listed(right, i % right.rows, [&](std::size_t column) {
      return column < columns ? g[row * columns + column] : g[m * columns + row];
    });
  }
}

__global__ void sketch_rows_kernel(const float* half, std::size_t width, SketchList left, float* out) {
  for (std::size_t i = grid_index(); i < left.rows * width; i += grid_size())
    out[i] = listed(left, i / width, [&](std::size_t row) { return half[row * width + i % width]; });
}

}  // namespace

void launch_divide(Stream stream, float* x, float by, std::size_t count) {
  SENG_LAUNCH(divide_kernel, grid_for(count), kBlockThreads, stream, x, by, count);
}

void launch_product(Stream stream, const float* x, float factor, float* y, std::size_t count) {
  SENG_LAUNCH(product_kernel, grid_for(count), kBlockThreads, stream, x, factor, y, count);
}

void launch_dot_parts(Stream stream, const float* g, const float* d, const ResidentRun* runs,
                      std::size_t count, float* parts) {
  SENG_LAUNCH(dot_parts_kernel, static_cast<unsigned>(count), kPartialSums, stream, g, d, runs, parts);
}

void launch_find_not_finite(Stream stream, const float* x, const ResidentRun* runs, std::size_t count,
                            std::int32_t* found) {
  SENG_LAUNCH(find_not_finite_kernel, static_cast<unsigned>(count), kRunThreads, stream, x, runs, found);
}

void launch_momentum_update(Stream stream, const UpdateCoefficients& coefficients, const float* d,
                            const ResidentRun* runs, std::size_t count, float* momentum, float* weights) {
  SENG_LAUNCH(momentum_kernel, static_cast<unsigned>(count), kRunThreads, stream, coefficients, d, runs,
              momentum, weights);
}

void launch_running_statistics(Stream stream, const float* means, const ResidentRun* runs, std::size_t count,
                               float* running) {
  SENG_LAUNCH(running_statistics_kernel, static_cast<unsigned>(count), kRunThreads, stream, means, runs,
              running);
}

void launch_sketch_columns(Stream stream, const float* g, std::size_t m, std::size_t columns,
                           const std::uint32_t* read, std::size_t reads, const SketchList& right,
                           float* half) {
  SENG_LAUNCH(sketch_columns_kernel, grid_for(reads * right.rows), kBlockThreads, stream, g, m, columns, read,
              reads, right, half);
}

void launch_sketch_rows(Stream stream, const float* half, std::size_t width, const SketchList& left,
                        float* out) {
  SENG_LAUNCH(sketch_rows_kernel, grid_for(left.rows * width), kBlockThreads, stream, half, width, left, out);
}

}  // namespace seng::cuda
