#include "actors/optim/stored_values.h"

#include <algorithm>
#include <cstring>

#include "protocol/base/error.h"

namespace seng {
namespace {

constexpr std::size_t kPanelFloats = std::size_t(1) << 17;  // widened at a time: half a second-level cache

}  // namespace

StoredValues::StoredValues(Precision precision, std::size_t count)
    : precision_(precision), count_(count), memory_(count * bytes_of(precision)) {}

void StoredValues::put(std::size_t at, Precision from, const void* values, std::size_t offset,
                       std::size_t count) {
  const auto* in = static_cast<const std::byte*>(values) + offset * bytes_of(from);
  std::byte* out = memory_.data() + at * bytes_of(precision_);
  if (from == precision_) {
    if (count > 0) std::memcpy(out, in, count * bytes_of(from));
  } else if (from == Precision::kF32) {
    narrow(reinterpret_cast<const float*>(in), reinterpret_cast<Bf16*>(out), count);
  } else {
    widen(reinterpret_cast<const Bf16*>(in), reinterpret_cast<float*>(out), count);
  }
}

float* StoredValues::at_least(std::size_t count) {
  SENG_CHECK(precision_ == Precision::kF32, "room for floats among narrow values");
  if (count > count_) *this = StoredValues(precision_, count);
  return reinterpret_cast<float*>(memory_.data());
}

const float* StoredValues::floats(std::size_t at, std::size_t count, Workspace::Slot slot) const {
  if (precision_ == Precision::kF32) return f32() + at;
  float* wide = Workspace::of_this_thread().floats(slot, count);
  widen(bf16() + at, wide, count);
  return wide;
}

void StoredValues::read(std::size_t at, float* out, std::size_t count) const {
  if (precision_ == Precision::kBf16) return widen(bf16() + at, out, count);
  if (count > 0) std::memcpy(out, f32() + at, count * sizeof(float));
}

MatrixOperand StoredValues::panel(std::size_t at, std::size_t ld, std::size_t rows, std::size_t width,
                                  Workspace::Slot slot) const {
  if (precision_ == Precision::kF32) return {f32() + at, ld, false};
  float* wide = Workspace::of_this_thread().floats(slot, rows * width);
  for (std::size_t r = 0; r < rows; ++r) widen(bf16() + at + r * ld, wide + r * width, width);
  return {wide, width, false};
}

void StoredValues::row_dots(std::size_t at, std::size_t ld, std::size_t rows, std::size_t width,
                            const float* x, double* y) const {
  if (precision_ == Precision::kF32) return seng::row_dots(f32() + at, ld, rows, width, x, y);
  seng::row_dots(bf16() + at, ld, rows, width, x, y);
}

void StoredValues::add_weighted_rows(std::size_t at, std::size_t ld, std::size_t rows, std::size_t width,
                                     const float* b, float* y) const {
  if (precision_ == Precision::kF32) return seng::add_weighted_rows(f32() + at, ld, rows, width, b, y);
  seng::add_weighted_rows(bf16() + at, ld, rows, width, b, y);
}

bool StoredValues::all_finite(std::size_t at, std::size_t count) const {
  return precision_ == Precision::kF32 ? seng::all_finite(f32() + at, count)
                                       : seng::all_finite(bf16() + at, count);
}

SampleStore make_store(std::size_t count, const SampleSize& size, Precision stored) {
  return {count, size, StoredValues(stored, count * size.first), StoredValues(stored, count * size.second)};
}

void multiply_stored(std::size_t m, MatrixOperand a, const StoredValues& x, std::size_t at, std::size_t ld,
                     std::size_t rows, std::size_t width, float* c, std::size_t ldc) {
  const std::size_t run = x.precision() == Precision::kF32
                              ? rows
                              : std::max<std::size_t>(64, kPanelFloats / std::max<std::size_t>(1, width));
  for (std::size_t r = 0; r < rows; r += run) {
    const std::size_t count = std::min(run, rows - r);
    const MatrixOperand part{a.data + (a.transposed ? r * a.ld : r), a.ld, a.transposed};
    gemm(m, width, count, 1, part, x.panel(at + r * ld, ld, count, width), r == 0 ? 0 : 1, c, ldc);
  }
}

}  // namespace seng
