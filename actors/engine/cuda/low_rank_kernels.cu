#include "actors/engine/cuda/launch.h"
#include "actors/engine/cuda/low_rank_kernels.h"
#include "actors/engine/random.h"

namespace seng::cuda {
namespace {

constexpr unsigned kLanes = 32, kSums = 8;  // of a block: sums side by side, each by 32 lanes

// Of all lanes' values, along one tree. Once a kernel.
__device__ inline double lanes_sum(double value) {
  __shared__ double sums[kSums][kLanes];
  sums[threadIdx.y][threadIdx.x] = value;
  __syncthreads();
  for (unsigned half = kLanes / 2; half > 0; half /= 2) {
    if (threadIdx.x < half) sums[threadIdx.y][threadIdx.x] += sums[threadIdx.y][threadIdx.x + half];
    __syncthreads();
  }
  return sums[threadIdx.y][0];
}

// Of a block that takes a sample's small matrix: a warp waits for no other.
unsigned matrix_threads(std::size_t count) {
  return count <= 16 ? 32 : 128;
}

dim3 blocks_of_sums(std::size_t sums) {
  return dim3(static_cast<unsigned>((sums + kSums - 1) / kSums));
}

// A thread makes the four words of one counter and the four values that Box and Muller's method makes of
// them.
__global__ void normal_rows_kernel(SubspaceKey key, std::size_t first, std::size_t samples, std::size_t each,
                                   float* rows) {
  constexpr double kTwoPi = 6.283185307179586;
  const std::size_t quads = (each + 3) / 4;
  for (std::size_t i = grid_index(); i < quads * samples; i += grid_size()) {
    const std::size_t sample = i / quads, quad = i % quads;
    const auto words = key.of_sample(first + sample).at(quad);
    for (std::size_t pair = 0; pair < 4; pair += 2) {
      const double radius = sqrt(-2.0 * log((words[pair] + 1.0) * 0x1p-32));
      const double angle = kTwoPi * (words[pair + 1] * 0x1p-32);
      const std::size_t at = quad * 4 + pair;
      if (at < each) rows[sample * each + at] = static_cast<float>(radius * cos(angle));
      if (at + 1 < each) rows[sample * each + at + 1] = static_cast<float>(radius * sin(angle));
    }
  }
}

__global__ void row_grams_kernel(const float* rows, SampleRows shape, double* grams) {
  const std::size_t count = shape.count, pairs = count * (count + 1) / 2;
  const std::size_t at = std::size_t(blockIdx.x) * kSums + threadIdx.y, sample = at / pairs;
  std::size_t i = 0, j = at % pairs;
  while (j > i) j -= ++i;
  double sum = 0;
  if (sample < shape.samples) {
    const float* a = rows + (sample * count + i) * shape.width;
    const float* b = rows + (sample * count + j) * shape.width;
    for (std::size_t k = threadIdx.x; k < shape.width; k += kLanes) sum += double(a[k]) * double(b[k]);
  }
  sum = lanes_sum(sum);
  if (sample >= shape.samples || threadIdx.x > 0) return;
  double* gram = grams + sample * count * count;
  gram[i * count + j] = gram[j * count + i] = sum;
}

__global__ void row_sums_kernel(const float* rows, std::size_t count, std::size_t width, float* out,
                                std::size_t stride) {
  const std::size_t row = std::size_t(blockIdx.x) * kSums + threadIdx.y;
  double sum = 0;
  for (std::size_t k = threadIdx.x; row < count && k < width; k += kLanes) sum += rows[row * width + k];
  sum = lanes_sum(sum);
  if (row < count && threadIdx.x == 0) out[row * stride] = static_cast<float>(sum);
}

// 1 / the length that a row keeps of `before`, both squared; 0: it keeps nothing; a NaN stays one.
__device__ inline double inverse_length(double kept, double before, double nothing) {
  if (!(kept - kept == 0)) return kept - kept;
  return kept > nothing * nothing * before ? 1 / sqrt(kept) : 0.0;
}

// A block takes a sample: row after row is taken away from those behind it, and from what the identity has
// become beside them. In exact arithmetic that is Gram-Schmidt; in double, of floats' products, it needs no
// second time.
__global__ void orthonormal_weights_kernel(double* grams, std::size_t count, double nothing,
                                           double* weights) {
  double* a = grams + std::size_t(blockIdx.x) * count * count;
  double* w = weights + std::size_t(blockIdx.x) * count * count;
  // Only lower triangles are worked on: a row's square as it was lies in row 0, above the diagonal.
  for (std::size_t i = threadIdx.x; i < count * count; i += blockDim.x) {
    w[i] = i / count == i % count ? 1 : 0;
    if (i > 0 && i < count) a[i] = a[i * count + i];
  }
  __syncthreads();
  for (std::size_t r = 0; r < count; ++r) {
    const double inverse = inverse_length(a[r * count + r], a[r], nothing), squared = inverse * inverse;
    const std::size_t below = count - r - 1;
    for (std::size_t at = threadIdx.x; at < below * count; at += blockDim.x) {
      const std::size_t i = r + 1 + at / count, j = at % count;
      const double along = a[i * count + r] * squared;
      if (j <= r) {
        w[i * count + j] -= along * w[r * count + j];
      } else if (j <= i) {
        a[i * count + j] -= along * a[j * count + r];
      }
    }
    __syncthreads();
  }
  for (std::size_t i = threadIdx.x; i < count * count; i += blockDim.x) {
    const std::size_t r = i / count;
    w[i] *= inverse_length(a[r * count + r], a[r], nothing);
  }
}

struct Rotation {
  std::size_t p, q;
  double c, s;  // s 0: none
};

// The two that pair `t` of round `round` turns, of `players` (even), each of whom meets every other one once.
__device__ inline Rotation paired(std::size_t players, std::size_t round, std::size_t t) {
  const std::size_t others = players - 1;
  const std::size_t a = t == 0 ? others : (round + t) % others, b = (round + others - t) % others;
  return {a < b ? a : b, a < b ? b : a, 1, 0};
}

// Of a symmetric matrix, such that entry (p, q) becomes 0 (Jacobi). An entry that is nothing beside the two
// on the diagonal, or beside the trace, is left; so is a NaN.
__device__ inline void choose_angle(const double* a, std::size_t n, double trace, Rotation& turn) {
  const double off = a[turn.p * n + turn.q], at_p = a[turn.p * n + turn.p], at_q = a[turn.q * n + turn.q];
  if (!(off * off > 1e-30 * fabs(at_p * at_q)) || !(fabs(off) > 1e-17 * trace)) return;
  const double theta = (at_q - at_p) / (2 * off);
  const double t = (theta < 0 ? -1 : 1) / (fabs(theta) + sqrt(theta * theta + 1));
  turn.c = 1 / sqrt(t * t + 1);
  turn.s = t * turn.c;
}

__device__ inline void turn_pair(double& p, double& q, double c, double s) {
  const double old = p;
  p = c * old - s * q;
  q = s * old + c * q;
}

__device__ inline bool comes_before(double a, std::size_t i, double b, std::size_t j) {
  return a > b || (!(a < b) && i < j);
}

// A block takes a sample: Jacobi's method, all rotations of a round side by side since they turn different
// rows.
__global__ void leading_vectors_kernel(double* grams, std::size_t n, std::size_t p, double* vectors,
                                       double* leading) {
  constexpr int kMostSweeps = 24;
  __shared__ Rotation turns[kMostVectors / 2];
  __shared__ double trace;
  __shared__ int turned;
  double* a = grams + std::size_t(blockIdx.x) * n * n;
  double* v = vectors + std::size_t(blockIdx.x) * n * n;  // eigenvectors become its rows
  const std::size_t players = n + n % 2, pairs = players / 2;
  for (std::size_t i = threadIdx.x; i < n * n; i += blockDim.x) v[i] = i / n == i % n ? 1 : 0;
  if (threadIdx.x == 0) {
    trace = 0;
    for (std::size_t i = 0; i < n; ++i) trace += a[i * n + i];
  }
  for (int sweep = 0; sweep < kMostSweeps; ++sweep) {
    __syncthreads();
    if (threadIdx.x == 0) turned = 0;
    __syncthreads();
    for (std::size_t round = 0; round + 1 < players; ++round) {
      for (std::size_t t = threadIdx.x; t < pairs; t += blockDim.x) {
        turns[t] = paired(players, round, t);
        if (turns[t].q < n) choose_angle(a, n, trace, turns[t]);
        if (turns[t].s != 0) turned = 1;
      }
      __syncthreads();
      for (std::size_t at = threadIdx.x; at < pairs * n; at += blockDim.x) {
        const Rotation& turn = turns[at / n];
        const std::size_t j = at % n;
        if (turn.s == 0) continue;
        turn_pair(a[turn.p * n + j], a[turn.q * n + j], turn.c, turn.s);
        turn_pair(v[turn.p * n + j], v[turn.q * n + j], turn.c, turn.s);
      }
      __syncthreads();
      for (std::size_t at = threadIdx.x; at < pairs * n; at += blockDim.x) {
        const Rotation& turn = turns[at / n];
        const std::size_t i = at % n;
        if (turn.s == 0) continue;
        turn_pair(a[i * n + turn.p], a[i * n + turn.q], turn.c, turn.s);
        if (i == turn.p) a[i * n + turn.q] = 0;
        if (i == turn.q) a[i * n + turn.p] = 0;
      }
      __syncthreads();
    }
    if (turned == 0) break;
  }
  for (std::size_t i = threadIdx.x; i < n; i += blockDim.x) {
    std::size_t place = 0;
    for (std::size_t j = 0; j < n; ++j)
      if (comes_before(a[j * n + j], j, a[i * n + i], i)) ++place;
    for (std::size_t j = 0; place < p && j < n; ++j)
      leading[(std::size_t(blockIdx.x) * p + place) * n + j] = v[i * n + j];
  }
}

__global__ void combine_rows_kernel(const double* weights, std::size_t p, const float* rows, SampleRows shape,
                                    float factor, float* out) {
  for (std::size_t i = grid_index(); i < shape.samples * p * shape.width; i += grid_size()) {
    const std::size_t row = i / shape.width;
    const double* weight = weights + row * shape.count;
    const float* of_sample = rows + row / p * shape.count * shape.width + i % shape.width;
    double sum = 0;
    for (std::size_t q = 0; q < shape.count; ++q) sum += weight[q] * double(of_sample[q * shape.width]);
    out[i] = static_cast<float>(sum) * factor;
  }
}

__global__ void unfold_maps_kernel(const float* maps, Unfolding of, std::size_t count, float* out) {
  const std::size_t plane = of.input.positions(), kernel = std::size_t(of.kernel_h) * of.kernel_w;
  const std::size_t positions = std::size_t(of.height_out) * of.width_out;
  for (std::size_t i = grid_index(); i < count * kernel * plane; i += grid_size()) {
    const int place = static_cast<int>(i / plane % kernel), at = static_cast<int>(i % plane);
    const int h = at / of.input.w + of.padding - place / of.kernel_w;
    const int w = at % of.input.w + of.padding - place % of.kernel_w;
    const bool meets = h >= 0 && w >= 0 && h % of.stride == 0 && w % of.stride == 0 &&
                       h / of.stride < of.height_out && w / of.stride < of.width_out;
    const std::size_t map = i / plane / kernel;
    out[i] = meets ? maps[map * positions + std::size_t(h / of.stride) * of.width_out + w / of.stride] : 0.0f;
  }
}

__global__ void put_products_kernel(const float* products, CutProducts shape, float* out, std::size_t width) {
  const std::size_t columns = shape.channels * shape.kernel;
  for (std::size_t i = grid_index(); i < shape.samples * shape.p * columns; i += grid_size()) {
    const std::size_t row = i / columns, column = i % columns, sample = row / shape.p, k = row % shape.p;
    const std::size_t channel = column / shape.kernel, place = column % shape.kernel;
    out[row * width + column] =
        products[((sample * shape.channels + channel) * shape.p + k) * shape.kernel + place];
  }
}

}  // namespace

void launch_normal_rows(Stream stream, const SubspaceKey& key, std::size_t first, SampleRows shape,
                        float* rows) {
  const std::size_t each = shape.count * shape.width;
  SENG_LAUNCH(normal_rows_kernel, grid_for((each + 3) / 4 * shape.samples), kBlockThreads, stream, key, first,
              shape.samples, each, rows);
}

void launch_row_grams(Stream stream, const float* rows, SampleRows shape, double* grams) {
  const std::size_t sums = shape.samples * (shape.count * (shape.count + 1) / 2);
  SENG_LAUNCH(row_grams_kernel, blocks_of_sums(sums), dim3(kLanes, kSums), stream, rows, shape, grams);
}

void launch_row_sums(Stream stream, const float* rows, std::size_t count, std::size_t width, float* out,
                     std::size_t stride) {
  SENG_LAUNCH(row_sums_kernel, blocks_of_sums(count), dim3(kLanes, kSums), stream, rows, count, width, out,
              stride);
}

void launch_orthonormal_weights(Stream stream, double* grams, std::size_t samples, std::size_t count,
                                double nothing, double* weights) {
  SENG_LAUNCH(orthonormal_weights_kernel, dim3(static_cast<unsigned>(samples)), matrix_threads(count), stream,
              grams, count, nothing, weights);
}

void launch_leading_vectors(Stream stream, double* grams, std::size_t samples, std::size_t count,
                            std::size_t p, double* vectors, double* leading) {
  SENG_LAUNCH(leading_vectors_kernel, dim3(static_cast<unsigned>(samples)), matrix_threads(count), stream,
              grams, count, p, vectors, leading);
}

void launch_combine_rows(Stream stream, const double* weights, std::size_t p, const float* rows,
                         SampleRows shape, float factor, float* out) {
  SENG_LAUNCH(combine_rows_kernel, grid_for(shape.samples * p * shape.width), kBlockThreads, stream, weights,
              p, rows, shape, factor, out);
}

void launch_unfold_maps(Stream stream, const float* maps, const Unfolding& of, std::size_t count,
                        float* out) {
  const std::size_t floats = count * std::size_t(of.kernel_h) * of.kernel_w * of.input.positions();
  SENG_LAUNCH(unfold_maps_kernel, grid_for(floats), kBlockThreads, stream, maps, of, count, out);
}

void launch_put_products(Stream stream, const float* products, const CutProducts& shape, float* out,
                         std::size_t width) {
  SENG_LAUNCH(put_products_kernel, grid_for(shape.samples * shape.p * shape.channels * shape.kernel),
              kBlockThreads, stream, products, shape, out, width);
}

}  // namespace seng::cuda
