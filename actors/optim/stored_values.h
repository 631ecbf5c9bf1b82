// The samples of a curvature as they are stored: floats, or bfloat16 at half the memory and traffic.
//
// What reads every value once (explicit columns) widens in registers. What multiplies matrices asks for a
// panel, which is widened into scratch memory of the calling thread; the callers' panels fit its second-level
// cache, so that memory sees the stored bytes only. Values of f32 are read where they lie: no copy.
#pragma once

#include <cstddef>
#include <span>

#include "actors/engine/bf16.h"
#include "actors/engine/linalg.h"
#include "actors/optim/representation.h"
#include "actors/optim/workspace.h"

namespace seng {

class StoredValues {
 public:
  StoredValues() = default;
  StoredValues(Precision precision, std::size_t count);

  Precision precision() const { return precision_; }
  std::size_t size() const { return count_; }
  std::span<std::byte> bytes() { return {memory_.data(), memory_.size()}; }
  std::span<const std::byte> bytes() const { return {memory_.data(), memory_.size()}; }

  // Puts values [at, at + count) from those at `offset` of an array of the other or the same precision:
  // rounds, widens or copies.
  void put(std::size_t at, Precision from, const void* values, std::size_t offset, std::size_t count);
  // Makes room for that many floats, for whoever fills them himself: of f32 only.
  float* at_least(std::size_t count);

  // The values [at, at + count): where they lie, or widened into the slot, and valid as long.
  const float* floats(std::size_t at, std::size_t count, Workspace::Slot slot = Workspace::kWidened) const;
  void read(std::size_t at, float* out, std::size_t count) const;
  // `rows` rows of `width` values, `ld` apart, as an operand of gemm. Likewise.
  MatrixOperand panel(std::size_t at, std::size_t ld, std::size_t rows, std::size_t width,
                      Workspace::Slot slot = Workspace::kWidened) const;

  // As linalg.h's, on values from `at`.
  void row_dots(std::size_t at, std::size_t ld, std::size_t rows, std::size_t width, const float* x,
                double* y) const;
  void add_weighted_rows(std::size_t at, std::size_t ld, std::size_t rows, std::size_t width, const float* b,
                         float* y) const;
  bool all_finite(std::size_t at, std::size_t count) const;

  // All values, where they lie; of that precision only.
  const float* f32() const { return reinterpret_cast<const float*>(memory_.data()); }
  const Bf16* bf16() const { return reinterpret_cast<const Bf16*>(memory_.data()); }

 private:
  Precision precision_ = Precision::kF32;
  std::size_t count_ = 0;
  AlignedBuffer<std::byte> memory_;
};

// `count` samples: size.first values each in `first`, and size.second in `second`.
struct SampleStore {
  std::size_t count = 0;
  SampleSize size;
  StoredValues first, second;
};
// Room that is not filled yet.
SampleStore make_store(std::size_t count, const SampleSize& size, Precision stored);

// C (m x width, ldc) = op(A) (m x rows) * X, X being `rows` rows of x from `at`, `ld` apart. Stored as bf16,
// X is widened and multiplied a run of rows at a time.
void multiply_stored(std::size_t m, MatrixOperand a, const StoredValues& x, std::size_t at, std::size_t ld,
                     std::size_t rows, std::size_t width, float* c, std::size_t ldc);

}  // namespace seng
