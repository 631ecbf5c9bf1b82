// The order of the samples: one permutation of the data set per epoch, keyed by (seed, epoch), one after
// another. Position p of the stream is place p % size of epoch p / size's permutation. Step t (from 0) uses
// positions [t*batch, (t+1)*batch): every batch is full, and every epoch uses every sample exactly once.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace seng {

class SampleStream {
 public:
  SampleStream(std::uint64_t seed, std::uint32_t size);

  std::uint32_t sample_at(
      std::uint64_t position);  // keeps the last two epochs' permutations; not thread-safe
  std::uint64_t epoch_at(std::uint64_t position) const { return position / size_; }
  // The samples of positions [position, position + samples.size()), as sample_at gives them one by one.
  void read(std::uint64_t position, std::span<std::uint32_t> samples);

  // Fisher-Yates with Philox; a pure function.
  static std::vector<std::uint32_t> permutation(std::uint64_t seed, std::uint64_t epoch, std::uint32_t size);

 private:
  std::uint64_t seed_;
  std::uint32_t size_;
  struct Cached {
    std::uint64_t epoch = ~0ull;
    std::vector<std::uint32_t> order;
  } cached_[2];  // the one used last first
  const std::vector<std::uint32_t>& order_of(std::uint64_t epoch);
};

}  // namespace seng
