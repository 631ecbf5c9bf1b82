// What the kernels' sources need of their compiler. nvcc's is CUDA's own; the tests compile the same sources
// for the host and define SENG_LAUNCH, __global__ and the rest themselves.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#ifdef __CUDACC__
#include <cuda_runtime.h>
#define SENG_LAUNCH(kernel, grid, block, stream, ...) kernel<<<(grid), (block), 0, (stream)>>>(__VA_ARGS__)
#elif !defined(SENG_LAUNCH)
#error "a kernel's source, compiled by neither nvcc nor with a host's SENG_LAUNCH"
#endif

namespace seng::cuda {

constexpr unsigned kBlockThreads = 256;

// Blocks for a loop over `count` that strides by the whole grid; 0 elements still need one block.
inline unsigned grid_for(std::size_t count) {
  constexpr std::size_t kMostBlocks = 65535;
  return static_cast<unsigned>(
      std::clamp<std::size_t>((count + kBlockThreads - 1) / kBlockThreads, 1, kMostBlocks));
}

__device__ inline std::size_t grid_index() {
  return std::size_t(blockIdx.x) * blockDim.x + threadIdx.x;
}
__device__ inline std::size_t grid_size() {
  return std::size_t(gridDim.x) * blockDim.x;
}

}  // namespace seng::cuda
