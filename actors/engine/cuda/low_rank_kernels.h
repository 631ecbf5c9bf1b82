// The kernels by which samples' factors are cut; kernels.h has what all kernels keep to. Matrices are
// row-major, a sample's behind another's.
#pragma once

#include "actors/engine/cuda/kernels.h"

namespace seng {
struct SubspaceKey;
}

namespace seng::cuda {

// `count` rows of `width` floats of each sample.
struct SampleRows {
  std::size_t samples, count, width;
};

// The numbers that Random::normal() of each sample gives, one after another: key.of_sample(first) is that of
// the first.
void launch_normal_rows(Stream stream, const SubspaceKey& key, std::size_t first, SampleRows shape,
                        float* rows);
// grams [samples, count, count], whole: the rows' inner products, in double.
void launch_row_grams(Stream stream, const float* rows, SampleRows shape, double* grams);
// weights [samples, count, count], lower triangles: what makes rows with these products orthonormal, each
// against those before it. A row of which less than `nothing` is left then is given zeros. grams are spent.
void launch_orthonormal_weights(Stream stream, double* grams, std::size_t samples, std::size_t count,
                                double nothing, double* weights);
// leading [samples, p, count]: the eigenvectors of grams' p largest eigenvalues, largest first. grams are
// spent; vectors [samples, count, count]. At most kMostVectors.
inline constexpr std::size_t kMostVectors = 256;
void launch_leading_vectors(Stream stream, double* grams, std::size_t samples, std::size_t count,
                            std::size_t p, double* vectors, double* leading);
// out [samples, p, width] = factor * weights [samples, p, count] * rows
void launch_combine_rows(Stream stream, const double* weights, std::size_t p, const float* rows,
                         SampleRows shape, float factor, float* out);

// The other way round than launch_unfold: of maps of the output [maps, H_out, W_out], out [maps, kh kw, H_in,
// W_in], such that row (kh, kw) times a channel's plane is a row of the unfolded input times the map.
void launch_unfold_maps(Stream stream, const float* maps, const Unfolding& of, std::size_t count, float* out);
// out [samples, p, channels * kernel], rows `width` apart, of products [samples, channels, p, kernel].
struct CutProducts {
  std::size_t samples, p, channels, kernel;
};
void launch_put_products(Stream stream, const float* products, const CutProducts& shape, float* out,
                         std::size_t width);
// out_i, `stride` apart: the sum of row i of rows [count, width].
void launch_row_sums(Stream stream, const float* rows, std::size_t count, std::size_t width, float* out,
                     std::size_t stride);

}  // namespace seng::cuda
