#include "actors/optim/sketch.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "protocol/base/error.h"

namespace seng {

Sketch::Sketch(SketchKind kind, std::size_t rows, std::size_t width, Random random)
    : samples_rows_(kind != SketchKind::kCountSketch || rows >= width),
      rows_(std::min(rows, width)),
      width_(width) {
  SENG_CHECK(rows_ > 0, "a sketch without rows");
  index_.resize(width);
  if (!samples_rows_) {
    sign_.resize(width);
    for (std::size_t j = 0; j < width; ++j) {
      index_[j] = std::uint32_t(random.below(rows_));
      sign_[j] = random.next_u32() & 1 ? 1.0f : -1.0f;
    }
    return;
  }
  std::iota(index_.begin(), index_.end(), 0u);
  if (rows_ == width) return;
  for (std::size_t j = 0; j < rows_; ++j) std::swap(index_[j], index_[j + random.below(width - j)]);
  index_.resize(rows_);
  std::sort(index_.begin(), index_.end());
  scale_ = float(std::sqrt(double(width) / double(rows_)));
}

bool Sketch::reads(std::size_t coordinate) const {
  return !samples_rows_ || std::binary_search(index_.begin(), index_.end(), std::uint32_t(coordinate));
}

void Sketch::apply(const float* x, std::size_t stride, float* out) const {
  if (samples_rows_) {
    for (std::size_t j = 0; j < rows_; ++j) out[j] = scale_ * x[index_[j] * stride];
    return;
  }
  std::fill_n(out, rows_, 0.0f);
  for (std::size_t j = 0; j < width_; ++j) out[index_[j]] += sign_[j] * x[j * stride];
}

SketchSide Sketch::side() const {
  SketchSide side{.width = width_, .adds = !samples_rows_};
  side.begins.assign(rows_ + 1, 0);
  if (samples_rows_) {
    std::iota(side.begins.begin(), side.begins.end(), 0u);
    side.index = index_;
    side.factor.assign(rows_, scale_);
    return side;
  }
  for (const std::uint32_t row : index_) ++side.begins[row + 1];
  std::partial_sum(side.begins.begin(), side.begins.end(), side.begins.begin());
  std::vector<std::uint32_t> next(side.begins.begin(), side.begins.end() - 1);
  side.index.resize(width_);
  side.factor.resize(width_);
  for (std::uint32_t j = 0; j < width_; ++j) {
    const std::uint32_t at = next[index_[j]]++;
    side.index[at] = j;
    side.factor[at] = sign_[j];
  }
  return side;
}

}  // namespace seng
