// How tensors lie on the device, and how sums over them are cut: plain numbers, shared with the kernels.
#pragma once

#include <cstddef>

namespace seng::cuda {

// What a tensor's elements are; kernels compute in float whatever they are.
enum class Element { kF32, kBf16, kF16 };
constexpr std::size_t bytes_of(Element element) {
  return element == Element::kF32 ? 4 : 2;
}

// A [n, c, h, w] tensor lies channels last, [n, h, w, c] dense, or plain, [n, c, h, w] dense.
struct Extents {
  int n = 0, c = 0, h = 1, w = 1;
  bool channels_last = false;
  Element element = Element::kF32;

  constexpr std::size_t positions() const { return std::size_t(h) * w; }
  constexpr std::size_t rows() const { return positions() * n; }  // samples x positions
  constexpr std::size_t count() const { return rows() * c; }
  // Of channel `channel` in row `row` = sample * positions + position.
  constexpr std::size_t at(std::size_t row, std::size_t channel) const {
    if (channels_last) return row * c + channel;
    return (row / positions() * c + channel) * positions() + row % positions();
  }
};

// Sums over rows are made in two stages, cut by the number of rows alone, so that their order, and with it
// their bits, depend on nothing else: chunks of consecutive rows, then the chunks in order.
struct RowChunks {
  std::size_t rows = 0, chunk = 1;  // chunk: rows in each but the last

  constexpr explicit RowChunks(std::size_t row_count) : rows(row_count) {
    constexpr std::size_t kLeast = 128, kMostChunks = 1024;
    const std::size_t wanted = (rows + kMostChunks - 1) / kMostChunks;
    chunk = wanted > kLeast ? wanted : kLeast;
  }
  constexpr std::size_t count() const { return (rows + chunk - 1) / chunk; }
  constexpr std::size_t begin(std::size_t i) const { return i * chunk; }
  constexpr std::size_t end(std::size_t i) const { return begin(i) + chunk < rows ? begin(i) + chunk : rows; }
  constexpr std::size_t size(std::size_t i) const { return end(i) - begin(i); }
};

}  // namespace seng::cuda
