#include "actors/engine/cpu/gemm_avx512_bf16.h"

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

#define SENG_AVX512_BF16 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,fma")))

constexpr std::size_t kPairLanes = 16;  // pairs of a vector
constexpr std::size_t kPairVectors = 3, kPairColumns = kPairVectors * kPairLanes;
constexpr std::size_t kPairRows = 8;
constexpr std::size_t kPairDepth = 256;  // pairs of rows whose panel of B, 48 KiB, is packed at a time

using Pair = std::uint32_t __attribute__((may_alias));

__mmask16 lanes_mask(std::size_t columns, std::size_t vector) {
  const std::size_t first = vector * kPairLanes;
  const std::size_t left = columns > first ? std::min(kPairLanes, columns - first) : 0;
  return static_cast<__mmask16>((1u << left) - 1u);
}

struct PairTile {
  const Pair *a, *b;          // b: packed, kPairColumns pairs a row
  std::size_t stride, depth;  // of A, in pairs; pairs of rows
  bool add;                   // to what C holds
  float* c;
  std::size_t ldc, columns;
};

template <std::size_t Rows>
SENG_AVX512_BF16 void pair_tile(const PairTile& tile) {
  const Pair *a = tile.a, *b = tile.b;
  const std::size_t stride = tile.stride;
  __m512 sum[Rows][kPairVectors];
#pragma GCC unroll 8
  for (std::size_t i = 0; i < Rows; ++i) sum[i][0] = sum[i][1] = sum[i][2] = _mm512_setzero_ps();
  for (std::size_t k = 0; k < tile.depth; ++k, a += stride, b += kPairColumns) {
    const __m512bh b0 = (__m512bh)_mm512_load_si512(b), b1 = (__m512bh)_mm512_load_si512(b + kPairLanes),
                   b2 = (__m512bh)_mm512_load_si512(b + 2 * kPairLanes);
#pragma GCC unroll 8
    for (std::size_t i = 0; i < Rows; ++i) {
      const __m512bh x = (__m512bh)_mm512_set1_epi32(static_cast<int>(a[i]));
      sum[i][0] = _mm512_dpbf16_ps(sum[i][0], x, b0);
      sum[i][1] = _mm512_dpbf16_ps(sum[i][1], x, b1);
      sum[i][2] = _mm512_dpbf16_ps(sum[i][2], x, b2);
    }
  }
#pragma GCC unroll 3
  for (std::size_t v = 0; v < kPairVectors; ++v) {
    const __mmask16 written = lanes_mask(tile.columns, v);
#pragma GCC unroll 8
    for (std::size_t i = 0; i < Rows; ++i) {
      float* out = tile.c + i * tile.ldc + v * kPairLanes;
      __m512 value = sum[i][v];
      if (tile.add) value = _mm512_add_ps(_mm512_maskz_loadu_ps(written, out), value);
      _mm512_mask_storeu_ps(out, written, value);
    }
  }
}

template <std::size_t... Counts>
constexpr auto pair_tiles(std::index_sequence<Counts...>) {
  return std::array<void (*)(const PairTile&), sizeof...(Counts)>{pair_tile<Counts + 1>...};
}
constexpr auto kPairTiles = pair_tiles(std::make_index_sequence<kPairRows>{});

// `columns` of B's columns, rows in pairs as A's are, zeros behind them and for a last row that is missing.
SENG_AVX512_BF16 void pack_pairs(const Bf16* b, std::size_t ldb, std::size_t rows, std::size_t columns,
                                 Pair* packed) {
  for (std::size_t r = 0; r < rows; r += 2, b += 2 * ldb, packed += kPairColumns) {
    for (std::size_t v = 0; v < kPairVectors; ++v) {
      const __mmask16 mask = lanes_mask(columns, v);
      const __m512i even = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, b + v * kPairLanes));
      const __mmask16 other = r + 1 < rows ? mask : __mmask16{0};
      const __m512i odd =
          _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(other, b + (other ? ldb : 0) + v * kPairLanes));
      _mm512_store_si512(packed + v * kPairLanes, _mm512_or_si512(even, _mm512_slli_epi32(odd, 16)));
    }
  }
}

}  // namespace

bool has_avx512_bf16() {
  static const bool has = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                          __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                          __builtin_cpu_supports("avx512bf16");
  return has;
}

void gemm_pairs(const PairsShape& s) {
  static thread_local AlignedBuffer<std::uint32_t> packed(kPairDepth * kPairColumns);
  const auto* a = reinterpret_cast<const Pair*>(s.a);
  for (std::size_t j = 0; j < s.n; j += kPairColumns) {
    const std::size_t columns = std::min(kPairColumns, s.n - j);
    for (std::size_t k = 0; k < s.k; k += 2 * kPairDepth) {
      const std::size_t rows = std::min(2 * kPairDepth, s.k - k);
      pack_pairs(s.b + k * s.ldb + j, s.ldb, rows, columns, packed.data());
      // As even runs of rows as there are.
      const std::size_t runs = (s.m + kPairRows - 1) / kPairRows;
      for (std::size_t run = 0, i = 0; run < runs; ++run) {
        const std::size_t count = s.m / runs + (run < s.m % runs ? 1 : 0);
        kPairTiles[count - 1]({a + k / 2 * s.m + i, packed.data(), s.m, (rows + 1) / 2, k > 0,
                               s.c + i * s.ldc + j, s.ldc, columns});
        i += count;
      }
    }
  }
}

}  // namespace seng::cpu

#else

#include "protocol/base/error.h"

namespace seng::cpu {

bool has_avx512_bf16() {
  return false;
}
void gemm_pairs(const PairsShape&) {
  SENG_CHECK(false, "no AVX512-BF16 on this kind of processor");
}

}  // namespace seng::cpu

#endif
