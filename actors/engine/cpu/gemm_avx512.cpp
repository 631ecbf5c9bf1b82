#include "actors/engine/cpu/gemm_avx512.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

#if defined(__x86_64__)
// GCC takes the undefined upper halves in its own header for a mistake.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>

#include "actors/engine/linalg.h"

namespace seng::cpu {
namespace {

#define SENG_AVX512 __attribute__((target("avx512f,avx512dq,avx512vl,fma")))
#define SENG_AVX512_INLINE SENG_AVX512 __attribute__((always_inline)) inline

constexpr std::size_t kLanes = 16;  // floats of a vector

// ---- rows times rows: C = A B^T ----

// A chunk of four rows of B stays in the first-level cache while A's rows pass by.
constexpr std::size_t kDotDepth = 1024;
constexpr std::size_t kDotRows = 6, kDotColumns = 4;

SENG_AVX512_INLINE __m256 halves(__m512 v) {
  return _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
}

// The sums over the lanes of four vectors, each in one fixed order.
SENG_AVX512_INLINE __m128 lane_sums(__m512 a, __m512 b, __m512 c, __m512 d) {
  const __m256 pairs =
      _mm256_hadd_ps(_mm256_hadd_ps(halves(a), halves(b)), _mm256_hadd_ps(halves(c), halves(d)));
  return _mm_add_ps(_mm256_castps256_ps128(pairs), _mm256_extractf128_ps(pairs, 1));
}

struct DotTile {
  const float *a, *b;
  std::size_t lda, ldb, depth;
  float alpha, beta;
  float* c;
  std::size_t ldc, columns;  // columns that are written, at most kDotColumns
};

// Rows x 4 entries of C. With fewer than 4 rows of B left, the last one is read again and not written.
template <std::size_t Rows>
SENG_AVX512 void dot_tile(const DotTile& tile) {
  const float* b[kDotColumns];
  for (std::size_t j = 0; j < kDotColumns; ++j) b[j] = tile.b + std::min(j, tile.columns - 1) * tile.ldb;
  const float* a = tile.a;
  const std::size_t lda = tile.lda;
  __m512 sum[Rows][kDotColumns];
#pragma GCC unroll 6
  for (std::size_t i = 0; i < Rows; ++i) {
#pragma GCC unroll 4
    for (std::size_t j = 0; j < kDotColumns; ++j) sum[i][j] = _mm512_setzero_ps();
  }
  std::size_t k = 0;
  for (; k + kLanes <= tile.depth; k += kLanes) {
    const __m512 b0 = _mm512_loadu_ps(b[0] + k), b1 = _mm512_loadu_ps(b[1] + k),
                 b2 = _mm512_loadu_ps(b[2] + k), b3 = _mm512_loadu_ps(b[3] + k);
#pragma GCC unroll 6
    for (std::size_t i = 0; i < Rows; ++i) {
      const __m512 x = _mm512_loadu_ps(a + i * lda + k);
      sum[i][0] = _mm512_fmadd_ps(x, b0, sum[i][0]);
      sum[i][1] = _mm512_fmadd_ps(x, b1, sum[i][1]);
      sum[i][2] = _mm512_fmadd_ps(x, b2, sum[i][2]);
      sum[i][3] = _mm512_fmadd_ps(x, b3, sum[i][3]);
    }
  }
  if (k < tile.depth) {
    const __mmask16 rest = static_cast<__mmask16>((1u << (tile.depth - k)) - 1u);
    const __m512 b0 = _mm512_maskz_loadu_ps(rest, b[0] + k), b1 = _mm512_maskz_loadu_ps(rest, b[1] + k),
                 b2 = _mm512_maskz_loadu_ps(rest, b[2] + k), b3 = _mm512_maskz_loadu_ps(rest, b[3] + k);
#pragma GCC unroll 6
    for (std::size_t i = 0; i < Rows; ++i) {
      const __m512 x = _mm512_maskz_loadu_ps(rest, a + i * lda + k);
      sum[i][0] = _mm512_fmadd_ps(x, b0, sum[i][0]);
      sum[i][1] = _mm512_fmadd_ps(x, b1, sum[i][1]);
      sum[i][2] = _mm512_fmadd_ps(x, b2, sum[i][2]);
      sum[i][3] = _mm512_fmadd_ps(x, b3, sum[i][3]);
    }
  }
  const __mmask8 written = static_cast<__mmask8>((1u << tile.columns) - 1u);
  const __m128 alpha = _mm_set1_ps(tile.alpha), beta = _mm_set1_ps(tile.beta);
#pragma GCC unroll 6
  for (std::size_t i = 0; i < Rows; ++i) {
    float* out = tile.c + i * tile.ldc;
    __m128 value = _mm_mul_ps(alpha, lane_sums(sum[i][0], sum[i][1], sum[i][2], sum[i][3]));
    if (tile.beta != 0) value = _mm_fmadd_ps(beta, _mm_maskz_loadu_ps(written, out), value);
    _mm_mask_storeu_ps(out, written, value);
  }
}

// ---- rows of A times a matrix: C = A B ----

constexpr std::size_t kOuterDepth = 256;
constexpr std::size_t kOuterRows = 8, kOuterVectors = 3;
constexpr std::size_t kOuterColumns = kOuterVectors * kLanes;

struct OuterTile {
  const float *a, *b;                           // b: packed, `kOuterColumns` floats a row
  std::size_t row_stride, depth_stride, depth;  // of A
  float alpha, beta;
  float* c;
  std::size_t ldc, columns;
};

template <std::size_t Rows>
SENG_AVX512 void outer_tile(const OuterTile& tile) {
  const float *a = tile.a, *b = tile.b;
  const std::size_t row_stride = tile.row_stride, depth_stride = tile.depth_stride;
  __m512 sum[Rows][kOuterVectors];
#pragma GCC unroll 8
  for (std::size_t i = 0; i < Rows; ++i) sum[i][0] = sum[i][1] = sum[i][2] = _mm512_setzero_ps();
  for (std::size_t k = 0; k < tile.depth; ++k, a += depth_stride, b += kOuterColumns) {
    const __m512 b0 = _mm512_load_ps(b), b1 = _mm512_load_ps(b + kLanes), b2 = _mm512_load_ps(b + 2 * kLanes);
#pragma GCC unroll 8
    for (std::size_t i = 0; i < Rows; ++i) {
      const __m512 x = _mm512_set1_ps(a[i * row_stride]);
      sum[i][0] = _mm512_fmadd_ps(x, b0, sum[i][0]);
      sum[i][1] = _mm512_fmadd_ps(x, b1, sum[i][1]);
      sum[i][2] = _mm512_fmadd_ps(x, b2, sum[i][2]);
    }
  }
  const __m512 alpha = _mm512_set1_ps(tile.alpha), beta = _mm512_set1_ps(tile.beta);
#pragma GCC unroll 3
  for (std::size_t v = 0; v < kOuterVectors; ++v) {
    if (v * kLanes >= tile.columns) break;
    const std::size_t left = std::min(kLanes, tile.columns - v * kLanes);
    const __mmask16 written = static_cast<__mmask16>((1u << left) - 1u);
#pragma GCC unroll 8
    for (std::size_t i = 0; i < Rows; ++i) {
      float* out = tile.c + i * tile.ldc + v * kLanes;
      __m512 value = _mm512_mul_ps(alpha, sum[i][v]);
      if (tile.beta != 0) value = _mm512_fmadd_ps(beta, _mm512_maskz_loadu_ps(written, out), value);
      _mm512_mask_storeu_ps(out, written, value);
    }
  }
}

// `columns` of B's columns side by side, zeros behind them.
SENG_AVX512 void pack_columns(const float* b, std::size_t ldb, std::size_t depth, std::size_t columns,
                              float* packed) {
  __mmask16 mask[kOuterVectors];
  for (std::size_t v = 0; v < kOuterVectors; ++v) {
    const std::size_t left = columns > v * kLanes ? std::min(kLanes, columns - v * kLanes) : 0;
    mask[v] = static_cast<__mmask16>((1u << left) - 1u);
  }
  for (std::size_t k = 0; k < depth; ++k, b += ldb, packed += kOuterColumns) {
    for (std::size_t v = 0; v < kOuterVectors; ++v) {
      _mm512_store_ps(packed + v * kLanes, _mm512_maskz_loadu_ps(mask[v], b + v * kLanes));
    }
  }
}

template <class Tile, template <std::size_t> class Call, std::size_t... Counts>
constexpr auto tiles(std::index_sequence<Counts...>) {
  return std::array<void (*)(const Tile&), sizeof...(Counts)>{Call<Counts + 1>::run...};
}

template <std::size_t Rows>
struct CallDot {
  static void run(const DotTile& tile) { dot_tile<Rows>(tile); }
};
template <std::size_t Rows>
struct CallOuter {
  static void run(const OuterTile& tile) { outer_tile<Rows>(tile); }
};
constexpr auto kDotTiles = tiles<DotTile, CallDot>(std::make_index_sequence<kDotRows>{});
constexpr auto kOuterTiles = tiles<OuterTile, CallOuter>(std::make_index_sequence<kOuterRows>{});

// Calls body(begin, count) for `total` rows in as even runs of at most `most` as there are.
template <class Body>
void even_runs(std::size_t total, std::size_t most, const Body& body) {
  const std::size_t runs = (total + most - 1) / most;
  for (std::size_t run = 0, begin = 0; run < runs; ++run) {
    const std::size_t count = total / runs + (run < total % runs ? 1 : 0);
    body(begin, count);
    begin += count;
  }
}

}  // namespace

bool has_avx512() {
  static const bool has = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                          __builtin_cpu_supports("avx512vl");
  return has;
}

void gemm_rows_by_rows(const GemmShape& s) {
  const std::size_t chunks = (s.k + kDotDepth - 1) / kDotDepth;
  const std::size_t even = ((s.k + chunks - 1) / chunks + kLanes - 1) / kLanes * kLanes;
  for (std::size_t k = 0; k < s.k; k += even) {
    const std::size_t depth = std::min(even, s.k - k);
    const float beta = k == 0 ? s.beta : 1.0f;
    for (std::size_t j = 0; j < s.n; j += kDotColumns) {
      const std::size_t columns = std::min(kDotColumns, s.n - j);
      even_runs(s.m, kDotRows, [&](std::size_t i, std::size_t rows) {
        kDotTiles[rows - 1]({s.a + i * s.lda + k, s.b + j * s.ldb + k, s.lda, s.ldb, depth, s.alpha, beta,
                             s.c + i * s.ldc + j, s.ldc, columns});
      });
    }
  }
}

void gemm_by_matrix(const GemmShape& s, bool transposed) {
  const std::size_t row_stride = transposed ? 1 : s.lda, depth_stride = transposed ? s.lda : 1;
  static thread_local AlignedBuffer<float> packed(kOuterDepth * kOuterColumns);
  for (std::size_t j = 0; j < s.n; j += kOuterColumns) {
    const std::size_t columns = std::min(kOuterColumns, s.n - j);
    for (std::size_t k = 0; k < s.k; k += kOuterDepth) {
      const std::size_t depth = std::min(kOuterDepth, s.k - k);
      const float beta = k == 0 ? s.beta : 1.0f;
      pack_columns(s.b + k * s.ldb + j, s.ldb, depth, columns, packed.data());
      even_runs(s.m, kOuterRows, [&](std::size_t i, std::size_t rows) {
        kOuterTiles[rows - 1]({s.a + i * row_stride + k * depth_stride, packed.data(), row_stride,
                               depth_stride, depth, s.alpha, beta, s.c + i * s.ldc + j, s.ldc, columns});
      });
    }
  }
}

}  // namespace seng::cpu

#else

#include "protocol/base/error.h"

namespace seng::cpu {

bool has_avx512() {
  return false;
}
void gemm_rows_by_rows(const GemmShape&) {
  SENG_CHECK(false, "no AVX-512 on this kind of processor");
}
void gemm_by_matrix(const GemmShape&, bool) {
  SENG_CHECK(false, "no AVX-512 on this kind of processor");
}

}  // namespace seng::cpu

#endif
