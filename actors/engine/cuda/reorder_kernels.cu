#include "actors/engine/cuda/elements.h"
#include "actors/engine/cuda/kernels.h"
#include "actors/engine/cuda/launch.h"

namespace seng::cuda {
namespace {

constexpr int kTile = 32, kTileRows = 8;

template <class From, class To>
__global__ void convert_kernel(const From* from, To* to, std::size_t count) {
  for (std::size_t i = grid_index(); i < count; i += grid_size()) put(to[i], to_float(from[i]));
}

// A block moves tiles of 32 x 32 through shared memory, so that reads and writes are both of consecutive
// elements; the extra column keeps the transposed reads on different banks.
template <class From, class To>
__global__ void transpose_kernel(const From* from, To* to, int batch, int rows, int columns) {
  __shared__ float tile[kTile][kTile + 1];
  const int x = threadIdx.x, column = blockIdx.x * kTile, row = blockIdx.y * kTile;
  for (int matrix = blockIdx.z; matrix < batch; matrix += gridDim.z) {
    const std::size_t base = std::size_t(matrix) * rows * columns;
    for (int y = threadIdx.y; y < kTile; y += kTileRows) {
      if (row + y < rows && column + x < columns)
        tile[y][x] = to_float(from[base + std::size_t(row + y) * columns + column + x]);
    }
    __syncthreads();
    for (int y = threadIdx.y; y < kTile; y += kTileRows) {
      if (column + y < columns && row + x < rows)
        put(to[base + std::size_t(column + y) * rows + row + x], tile[x][y]);
    }
    __syncthreads();
  }
}

// More rows than a grid holds in its second dimension: one element a thread.
template <class From, class To>
__global__ void transpose_tall_kernel(const From* from, To* to, int batch, int rows, int columns) {
  const std::size_t matrix = std::size_t(rows) * columns;
  for (std::size_t i = grid_index(); i < matrix * batch; i += grid_size()) {
    const std::size_t place = i % matrix;
    put(to[i - place + place % columns * rows + place / columns], to_float(from[i]));
  }
}

template <class From, class To>
void transpose(Stream stream, const void* from, void* to, int batch, int rows, int columns) {
  constexpr unsigned kMostBlocks = 65535;
  const unsigned across = (columns + kTile - 1) / kTile, down = (rows + kTile - 1) / kTile;
  const auto* source = static_cast<const From*>(from);
  auto* target = static_cast<To*>(to);
  if (down > kMostBlocks) {
    auto* kernel = transpose_tall_kernel<From, To>;
    SENG_LAUNCH(kernel, grid_for(std::size_t(rows) * columns * batch), kBlockThreads, stream, source, target,
                batch, rows, columns);
    return;
  }
  const unsigned deep = std::min<unsigned>(batch, kMostBlocks);
  auto* kernel = transpose_kernel<From, To>;
  SENG_LAUNCH(kernel, dim3(across, down, deep), dim3(kTile, kTileRows), stream, source, target, batch, rows,
              columns);
}

template <class From, class To>
void convert(Stream stream, const void* from, void* to, std::size_t count) {
  auto* kernel = convert_kernel<From, To>;
  SENG_LAUNCH(kernel, grid_for(count), kBlockThreads, stream, static_cast<const From*>(from),
              static_cast<To*>(to), count);
}

}  // namespace

void launch_transpose(Stream stream, Elements from, void* to, Element to_element, int batch, int rows,
                      int columns) {
  if (from.element == to_element) {
    SENG_FOR_ELEMENT(to_element, { transpose<T, T>(stream, from.memory, to, batch, rows, columns); });
  } else if (from.element == Element::kF32) {
    SENG_FOR_ELEMENT(to_element, { transpose<float, T>(stream, from.memory, to, batch, rows, columns); });
  } else {
    SENG_FOR_ELEMENT(from.element, { transpose<T, float>(stream, from.memory, to, batch, rows, columns); });
  }
}

void launch_convert(Stream stream, Elements from, void* to, Element to_element, std::size_t count) {
  if (from.element == Element::kF32) {
    SENG_FOR_ELEMENT(to_element, { convert<float, T>(stream, from.memory, to, count); });
  } else {
    SENG_FOR_ELEMENT(from.element, { convert<T, float>(stream, from.memory, to, count); });
  }
}

}  // namespace seng::cuda
