// Compiles a kernel's source for the host: a launch runs its blocks one after another, a block's threads as
// fibers that give way at __syncthreads(). Included before such a source by the build (-include).
#pragma once

#include <cmath>
#include <cstddef>
#include <functional>

#include "tests/support/emulated_cuda/half.h"

struct CUstream_st;

struct dim3 {
  unsigned x, y, z;
  dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};
struct uint3 {
  unsigned x = 0, y = 0, z = 0;
};
struct __half {
  std::uint16_t bits;
};
struct __nv_bfloat16 {
  std::uint16_t bits;
};

namespace emulated_cuda {

inline thread_local uint3 thread_index, block_index;
inline thread_local dim3 block_size, grid_size;

void queue(CUstream_st* stream, std::function<void()> work, double milliseconds = 0);
bool invalidates_capture(CUstream_st* stream, const char* what);
void run_grid(const void* kernel, dim3 grid, dim3 block, const std::function<void()>& thread);
void barrier();

template <class... Parameters, class... Arguments>
void launch(CUstream_st* stream, dim3 grid, dim3 block, void (*kernel)(Parameters...),
            Arguments... arguments) {
  if (invalidates_capture(stream, "kernel")) return;
  queue(stream,
        [=] { run_grid(reinterpret_cast<const void*>(kernel), grid, block, [=] { kernel(arguments...); }); });
}

}  // namespace emulated_cuda

#define threadIdx ::emulated_cuda::thread_index
#define blockIdx ::emulated_cuda::block_index
#define blockDim ::emulated_cuda::block_size
#define gridDim ::emulated_cuda::grid_size
#define __global__
#define __device__
#define __shared__ static thread_local
#define __syncthreads() ::emulated_cuda::barrier()
#define SENG_LAUNCH(kernel, grid, block, stream, ...) \
  ::emulated_cuda::launch(stream, (grid), (block), kernel, __VA_ARGS__)

inline int min(int a, int b) {
  return a < b ? a : b;
}
inline int max(int a, int b) {
  return a > b ? a : b;
}
inline __half __ushort_as_half(std::uint16_t bits) {
  return {bits};
}
inline __nv_bfloat16 __ushort_as_bfloat16(std::uint16_t bits) {
  return {bits};
}
inline std::uint16_t __half_as_ushort(__half x) {
  return x.bits;
}
inline std::uint16_t __bfloat16_as_ushort(__nv_bfloat16 x) {
  return x.bits;
}
inline float __half2float(__half x) {
  return emulated_cuda::of_half(x.bits);
}
inline float __bfloat162float(__nv_bfloat16 x) {
  return emulated_cuda::of_bfloat16(x.bits);
}
inline __half __float2half_rn(float x) {
  return {emulated_cuda::to_half(x)};
}
inline __nv_bfloat16 __float2bfloat16_rn(float x) {
  return {emulated_cuda::to_bfloat16(x)};
}
