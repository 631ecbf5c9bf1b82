#include "actors/optim/gram.h"

#include <algorithm>

#include "actors/engine/linalg.h"
#include "actors/optim/tasks.h"
#include "actors/optim/workspace.h"

namespace seng {
namespace {

constexpr std::size_t kPanel = 64;    // rows of the matrix per task
constexpr std::size_t kStrip = 32;    // of these at a time: little is computed above the diagonal
constexpr std::size_t kDepth = 2048;  // columns added in float

// operand(rows, column, columns): that part of X's first rows, as it is or widened.
template <class Operand>
void add_gram_of(const Operand& operand, std::size_t count, std::size_t width, double* gram, Lanes& lanes) {
  const Cut panels{count, kPanel};
  const auto panel = [&](std::size_t task) {
    // The longest panel first: the lanes end together.
    const std::size_t p = panels.tasks() - 1 - task;
    const std::size_t i0 = panels.begin(p), height = panels.size(p);
    float* tile = Workspace::of_this_thread().floats(Workspace::kTile, kStrip * (i0 + height));
    for (std::size_t k = 0; k < width; k += kDepth) {
      const std::size_t depth = std::min(kDepth, width - k);
      const MatrixOperand all = operand(i0 + height, k, depth);
      for (std::size_t strip = 0; strip < height; strip += kStrip) {
        const std::size_t i1 = i0 + strip, lines = std::min(kStrip, height - strip), columns = i1 + lines;
        gemm(lines, columns, depth, 1, {all.data + i1 * all.ld, all.ld, false}, {all.data, all.ld, true}, 0,
             tile, columns);
        for (std::size_t i = 0; i < lines; ++i) {
          double* out = gram + (i1 + i) * count;
          for (std::size_t j = 0; j < columns; ++j) out[j] += double(tile[i * columns + j]);
        }
      }
    }
  };
  run_tasks(lanes, panels.tasks(), 0.5 * double(count) * double(count) * double(width), panel);
}

}  // namespace

void add_gram(const float* rows, std::size_t ld, std::size_t count, std::size_t width, double* gram,
              Lanes& lanes) {
  const auto operand = [&](std::size_t, std::size_t column, std::size_t) {
    return MatrixOperand{rows + column, ld, false};
  };
  add_gram_of(operand, count, width, gram, lanes);
}

void add_gram(const StoredValues& rows, std::size_t ld, std::size_t count, std::size_t width, double* gram,
              Lanes& lanes) {
  const auto operand = [&](std::size_t height, std::size_t column, std::size_t depth) {
    return rows.panel(column, ld, height, depth);
  };
  add_gram_of(operand, count, width, gram, lanes);
}

void put_block_products(const GramTile& tile, std::size_t rank, const float* a, const float* b, double* gram,
                        std::size_t count) {
  const std::size_t ld = tile.nj * rank;
  for (std::size_t i = 0; i < tile.ni; ++i) {
    for (std::size_t j = 0; j < tile.nj && tile.j0 + j <= tile.i0 + i; ++j) {
      double sum = 0;
      for (std::size_t k = 0; k < rank; ++k) {
        const std::size_t at = (i * rank + k) * ld + j * rank;
        sum += dot(a + at, b + at, rank);
      }
      gram[(tile.i0 + i) * count + tile.j0 + j] = sum;
    }
  }
}

}  // namespace seng
