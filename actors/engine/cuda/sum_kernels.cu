#include "actors/engine/cuda/elements.h"
#include "actors/engine/cuda/kernels.h"
#include "actors/engine/cuda/launch.h"

namespace seng::cuda {
namespace {

constexpr int kColumns = 32, kLanes = 8;  // of a block: channels, and rows that are summed side by side

// Block (i, j): the sums over chunk j's rows of 32 channels.
template <class T>
__global__ void partial_sums_kernel(const T* x, Extents extents, RowChunks chunks, float* partial) {
  __shared__ float lanes[kLanes][kColumns];
  const int channel = blockIdx.x * kColumns + threadIdx.x;
  float sum = 0;
  if (channel < extents.c) {
    for (std::size_t row = chunks.begin(blockIdx.y) + threadIdx.y; row < chunks.end(blockIdx.y);
         row += kLanes)
      sum += to_float(x[extents.at(row, channel)]);
  }
  lanes[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  for (unsigned half = kLanes / 2; half > 0; half /= 2) {
    if (threadIdx.y < half) lanes[threadIdx.y][threadIdx.x] += lanes[threadIdx.y + half][threadIdx.x];
    __syncthreads();
  }
  if (threadIdx.y == 0 && channel < extents.c)
    partial[std::size_t(blockIdx.y) * extents.c + channel] = lanes[0][threadIdx.x];
}

__global__ void add_partial_sums_kernel(const float* partial, std::size_t chunks, int channels, float* sums) {
  for (std::size_t channel = grid_index(); channel < std::size_t(channels); channel += grid_size()) {
    double sum = 0;
    for (std::size_t chunk = 0; chunk < chunks; ++chunk) sum += partial[chunk * channels + channel];
    sums[channel] = static_cast<float>(sum);
  }
}

}  // namespace

void launch_channel_sums(Stream stream, const void* x, Extents extents, float* partial, float* sums) {
  const RowChunks chunks(extents.rows());
  const dim3 grid((extents.c + kColumns - 1) / kColumns, static_cast<unsigned>(chunks.count()));
  SENG_FOR_ELEMENT(extents.element, {
    SENG_LAUNCH(partial_sums_kernel<T>, grid, dim3(kColumns, kLanes), stream, static_cast<const T*>(x),
                extents, chunks, partial);
  });
  SENG_LAUNCH(add_partial_sums_kernel, grid_for(extents.c), kBlockThreads, stream, partial, chunks.count(),
              extents.c, sums);
}

}  // namespace seng::cuda
