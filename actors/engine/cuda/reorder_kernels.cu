#include "actors/engine/cuda/kernels.h"
#include "actors/engine/cuda/launch.h"

namespace seng::cuda {
namespace {

constexpr int kTile = 32, kTileRows = 8;

// A block moves tiles of 32 x 32 through shared memory, so that reads and writes are both of consecutive
// elements; the extra column keeps the transposed reads on different banks.
__global__ void transpose_kernel(const float* from, float* to, int batch, int rows, int columns) {
  __shared__ float tile[kTile][kTile + 1];
  const int x = threadIdx.x, column = blockIdx.x * kTile, row = blockIdx.y * kTile;
  for (int matrix = blockIdx.z; matrix < batch; matrix += gridDim.z) {
    const std::size_t base = std::size_t(matrix) * rows * columns;
    for (int y = threadIdx.y; y < kTile; y += kTileRows) {
      if (row + y < rows && column + x < columns)
        tile[y][x] = from[base + std::size_t(row + y) * columns + column + x];
    }
    __syncthreads();
    for (int y = threadIdx.y; y < kTile; y += kTileRows) {
      if (column + y < columns && row + x < rows)
        to[base + std::size_t(column + y) * rows + row + x] = tile[x][y];
    }
    __syncthreads();
  }
}

// More rows than a grid holds in its second dimension: one element a thread.
__global__ void transpose_tall_kernel(const float* from, float* to, int batch, int rows, int columns) {
  const std::size_t matrix = std::size_t(rows) * columns;
  for (std::size_t i = grid_index(); i < matrix * batch; i += grid_size()) {
    const std::size_t place = i % matrix;
    to[i - place + place % columns * rows + place / columns] = from[i];
  }
}

}  // namespace

void launch_transpose(Stream stream, const float* from, float* to, int batch, int rows, int columns) {
  constexpr unsigned kMostBlocks = 65535;
  const unsigned across = (columns + kTile - 1) / kTile, down = (rows + kTile - 1) / kTile;
  if (down > kMostBlocks) {
    SENG_LAUNCH(transpose_tall_kernel, grid_for(std::size_t(rows) * columns * batch), kBlockThreads, stream,
                from, to, batch, rows, columns);
    return;
  }
  const unsigned deep = std::min<unsigned>(batch, kMostBlocks);
  SENG_LAUNCH(transpose_kernel, dim3(across, down, deep), dim3(kTile, kTileRows), stream, from, to, batch,
              rows, columns);
}

}  // namespace seng::cuda
