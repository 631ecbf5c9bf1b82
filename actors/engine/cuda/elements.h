// The 16-bit elements of tensors, for kernels only: read as floats, rounded to the nearest when written (of
// two as near, to the even one). What is too large becomes infinite, a NaN stays one.
#pragma once

#include <cstdint>

#include "actors/engine/cuda/extents.h"
#include "actors/engine/cuda/launch.h"

#ifdef __CUDACC__
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#endif

namespace seng::cuda {

struct BFloat16 {
  std::uint16_t bits;
};
struct Float16 {
  std::uint16_t bits;
};

__device__ inline float to_float(float x) {
  return x;
}
__device__ inline float to_float(BFloat16 x) {
  return __bfloat162float(__ushort_as_bfloat16(x.bits));
}
__device__ inline float to_float(Float16 x) {
  return __half2float(__ushort_as_half(x.bits));
}

__device__ inline void put(float& to, float x) {
  to = x;
}
__device__ inline void put(BFloat16& to, float x) {
  to.bits = __bfloat16_as_ushort(__float2bfloat16_rn(x));
}
__device__ inline void put(Float16& to, float x) {
  to.bits = __half_as_ushort(__float2half_rn(x));
}

}  // namespace seng::cuda

// Runs statements with T as the type of such elements.
#define SENG_FOR_ELEMENT(element, ...)     \
  do {                                     \
    switch (element) {                     \
      case ::seng::cuda::Element::kF32: {  \
        using T = float;                   \
        __VA_ARGS__                        \
        break;                             \
      }                                    \
      case ::seng::cuda::Element::kBf16: { \
        using T = ::seng::cuda::BFloat16;  \
        __VA_ARGS__                        \
        break;                             \
      }                                    \
      case ::seng::cuda::Element::kF16: {  \
        using T = ::seng::cuda::Float16;   \
        __VA_ARGS__                        \
        break;                             \
      }                                    \
    }                                      \
  } while (0)
