// This backend's own kernels: each call queues one or two on the stream and returns. All pointers are the
// device's memory; those to void, elements of the kind that is said beside them or in their extents. A failed
// launch is the caller's to ask for (cudaGetLastError). No atomics, and every sum in an order that its shape
// alone decides. No vendor header: the tests compile the same sources for the host.
#pragma once

#include <cstddef>
#include <cstdint>

#include "actors/engine/cuda/extents.h"

struct CUstream_st;
namespace seng {
struct DropoutKey;
}

namespace seng::cuda {

using Stream = CUstream_st*;  // cudaStream_t

// elementwise_kernels.cu; outputs may lie over inputs. A NaN stays one.
void launch_relu(Stream stream, Element element, const void* x, void* y, std::size_t count);
void launch_relu_backward(Stream stream, Element element, const void* y, const void* dy, void* dx,
                          std::size_t count);
void launch_add(Stream stream, Element element, const void* a, const void* b, void* sum, std::size_t count,
                bool relu);
void launch_scale(Stream stream, float* x, float factor, std::size_t count);
// Adds bias[c] to every element of channel c; over x.
void launch_add_bias(Stream stream, void* x, const float* bias, Extents extents);
// The mask of random.h's kDropout for samples key->first_sample .. + samples, of `elements` each.
struct DropoutMask {
  std::uint32_t layer = 0;
  std::uint64_t dropped_below = 0;  // of 2^32
  float scale = 1;
};
void launch_dropout(Stream stream, const DropoutMask& mask, const DropoutKey* key, const float* x, float* y,
                    int samples, std::size_t elements);

// reorder_kernels.cu. Elements of 16 bits and floats become each other; between two kinds of 16 bits nothing
// does.
struct Elements {
  const void* memory;
  Element element;
};
void launch_convert(Stream stream, Elements from, void* to, Element to_element, std::size_t count);
// `batch` matrices [rows, columns] become [columns, rows].
void launch_transpose(Stream stream, Elements from, void* to, Element to_element, int batch, int rows,
                      int columns);

// sum_kernels.cu: sums[c] of channel c. partial: RowChunks(rows).count() * c floats.
void launch_channel_sums(Stream stream, const void* x, Extents extents, float* partial, float* sums);

// batch_norm_kernels.cu. `scale` and so on: [C] each.
struct BatchNormForward {
  const void* x;
  const float *gamma, *beta;
  float *mean, *variance;  // of the batch, biased
  float* kept;             // [scale | beta]: gamma/sqrt(variance + epsilon); batch_norm's workspace
  void* y;
  float epsilon;
  bool relu;
};
// partial: 2 * RowChunks(rows).count() * c floats.
void launch_batch_norm_forward(Stream stream, const BatchNormForward& args, Extents extents, float* partial);
struct BatchNormInfer {
  const void* x;
  const float *gamma, *beta, *mean, *variance;
  float* scale;  // room for [C]
  void* y;
  float epsilon;
  bool relu;
};
void launch_batch_norm_infer(Stream stream, const BatchNormInfer& args, Extents extents);
struct BatchNormBackward {
  const void *x, *dy;
  const float *mean, *variance, *kept;
  void* dx;
  float *gamma_gradient, *beta_gradient;
  float epsilon;
  bool relu;
};
// partial: as forward.
void launch_batch_norm_backward(Stream stream, const BatchNormBackward& args, Extents extents,
                                float* partial);
// Of the first `samples` samples, each its own sums: out is [samples, 2, C], dgamma and then dbeta.
struct BatchNormSamples {
  const void *x, *dy;
  const float *gamma, *beta, *mean, *variance;
  float* out;
  float epsilon;
  bool relu;
};
void launch_batch_norm_samples(Stream stream, const BatchNormSamples& args, Extents extents, int samples);
// out: [mean | variance * unbiased].
void launch_batch_norm_statistics(Stream stream, const float* mean, const float* variance, double unbiased,
                                  int channels, float* out);

// pool_kernels.cu. Input and output lie alike (channels last or plain).
struct PoolWindow {
  int kernel_h, kernel_w, stride, padding;
};
// winner: place of the largest value within its window, an element each; null when nobody asks for it.
void launch_max_pool(Stream stream, const void* x, std::uint16_t* winner, void* y, Extents in, Extents out,
                     PoolWindow window);
void launch_max_pool_backward(Stream stream, const void* dy, const std::uint16_t* winner, void* dx,
                              Extents in, Extents out, PoolWindow window);
void launch_average_pool(Stream stream, const void* x, void* y, Extents in, Extents out, PoolWindow window);
void launch_average_pool_backward(Stream stream, const void* dy, void* dx, Extents in, Extents out,
                                  PoolWindow window);

// loss_kernels.cu: softmax cross-entropy as backend.h has it, in double precision.
struct LossKernel {
  const float* logits;         // [samples, classes]
  const std::int32_t* labels;  // [samples]
  const std::int32_t* others;
  const float* weights;
  float* gradient;     // or null; may be logits
  double* losses;      // [samples]
  std::int32_t* hits;  // [samples], 0 or 1
  int samples, classes;
  double smoothing;
  const float* scale;  // one, of the gradient
};
void launch_cross_entropy(Stream stream, const LossKernel& args);

// samples_kernels.cu: sums in double.
// sums [rows, ld] += part [rows, columns].
void launch_add_to(Stream stream, const float* part, double* sums, std::size_t rows, std::size_t columns,
                   std::size_t ld);
// gram [rows, ld], its first `columns`: entry (i, j) = the sum over the p x p block (i, j) of a * b, both
// [rows * p, columns * p].
void launch_block_products(Stream stream, const double* a, const double* b, double* gram, std::size_t ld,
                           std::size_t rows, std::size_t columns, std::size_t p);
// Rows [samples * positions, columns] of the unfolded input of `samples` images x: columns [begin, begin +
// columns) of what a convolution multiplies at a position; the one behind its weights is 1.
struct Unfolding {
  Extents input;  // of x
  int height_out, width_out, kernel_h, kernel_w, stride, padding;
};
void launch_unfold(Stream stream, const float* x, const Unfolding& of, int samples, std::size_t begin,
                   std::size_t columns, float* rows);
// sums [buckets, width], of bucket i: the sum of weights[pair / p] * signs[pair] * row `pair` of rows [*,
// width] over pairs order[begins[i]] up to order[begins[i + 1]], in that order. With `add` onto what is
// there.
struct BucketSums {
  const std::uint32_t *order, *begins;
  const float *signs, *weights;
  std::size_t buckets, p;
};
void launch_bucket_sums(Stream stream, const BucketSums& of, const float* rows, std::size_t width, bool add,
                        float* sums);
// y = keep * y + factor * x
void launch_scaled_sum(Stream stream, const float* x, float factor, float* y, float keep, std::size_t count);
// out_i = row i of a . row i of b, both [rows, width].
void launch_row_dots(Stream stream, const float* a, const float* b, std::size_t rows, std::size_t width,
                     double* out);
// y [rows, width]: each row of x times its weight.
void launch_scale_rows(Stream stream, const float* x, const float* weights, float* y, std::size_t rows,
                       std::size_t width);

// system_kernels.cu: the N x N system of the optimizer; matrices row-major, lower triangles.
// k [n, n], whole = lambda I + gram / own, where i and j are of the same `own` samples in a row, else 0.
struct DampedGram {
  std::size_t n, own;
  double lambda;
};
void launch_damped_gram(Stream stream, const DampedGram& of, const double* gram, double* k);
// found [kFindBlocks]: i * n + j of the first entry that is not finite of those that a block has looked at,
// or -1.
inline constexpr unsigned kFindBlocks = 128;
void launch_find_not_finite(Stream stream, const double* matrix, std::size_t n, long long* found);
// weights_i = b_i / divisor
void launch_sample_weights(Stream stream, const double* b, double divisor, float* weights, std::size_t count);
// Of w_i = b_i / divisor: x_i = sqrt|w_i|, y_i the same with w_i's sign, or without it.
void launch_bucket_weights(Stream stream, const double* b, double divisor, bool signs_of_b, float* x,
                           float* y, std::size_t count);

// kronecker_kernels.cu. Packed: the lower triangle of a symmetric matrix, row after row.
// sums (packed, of order n) += the lower triangle of part [n, n].
void launch_add_triangle(Stream stream, const float* part, double* sums, std::size_t n);
// full [n, n], both triangles.
void launch_unpack(Stream stream, const float* packed, float* full, std::size_t n);
// mean = retained * before + (1 - retained) * sums * scale; without before (null) sums * scale.
struct MeanBlend {
  double scale = 1, retained = 0;
  const float* before = nullptr;  // may be the mean
};
void launch_blend_mean(Stream stream, const MeanBlend& blend, const double* sums, float* mean,
                       std::size_t count);
// A gradient [m, weights] with its bias [m] behind it as the matrix [m, weights + 1], and back.
void launch_join_bias(Stream stream, const float* gradient, float* matrix, std::size_t m,
                      std::size_t weights);
void launch_split_bias(Stream stream, const float* matrix, float* gradient, std::size_t m,
                       std::size_t weights);
// Eigenvalues of G (m of them) and A (n); those below zero count as 0. x [m, n].
struct KroneckerValues {
  const float *g, *a;
  std::size_t m, n;
};
// x_oj /= g_o a_j + lambda
void launch_divide_by_eigenvalues(Stream stream, const KroneckerValues& values, double lambda, float* x);
// out_o = sum over j of g_o a_j x_oj^2
void launch_weighted_squares(Stream stream, const KroneckerValues& values, const float* x, double* out);

}  // namespace seng::cuda
