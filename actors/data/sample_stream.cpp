#include "actors/data/sample_stream.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "actors/engine/random.h"
#include "protocol/base/error.h"

namespace seng {

SampleStream::SampleStream(std::uint64_t seed, std::uint32_t size) : seed_(seed), size_(size) {
  SENG_CHECK(size > 0, "a data set has samples");
}

const std::vector<std::uint32_t>& SampleStream::order_of(std::uint64_t epoch) {
  if (cached_[0].epoch == epoch) return cached_[0].order;
  std::swap(cached_[0], cached_[1]);
  if (cached_[0].epoch != epoch) {
    cached_[0].order = permutation(seed_, epoch, size_);
    cached_[0].epoch = epoch;
  }
  return cached_[0].order;
}

std::uint32_t SampleStream::sample_at(std::uint64_t position) {
  return order_of(epoch_at(position))[position % size_];
}

void SampleStream::read(std::uint64_t position, std::span<std::uint32_t> samples) {
  for (std::size_t done = 0; done < samples.size();) {
    const std::vector<std::uint32_t>& order = order_of(epoch_at(position));
    const std::size_t place = position % size_;
    const std::size_t part = std::min(samples.size() - done, order.size() - place);
    std::copy_n(order.begin() + static_cast<std::ptrdiff_t>(place), part,
                samples.begin() + static_cast<std::ptrdiff_t>(done));
    done += part;
    position += part;
  }
}

std::vector<std::uint32_t> SampleStream::permutation(std::uint64_t seed, std::uint64_t epoch,
                                                     std::uint32_t size) {
  std::vector<std::uint32_t> order(size);
  std::iota(order.begin(), order.end(), 0u);
  Random random(seed, RandomPurpose::kDataOrder, epoch);
  for (std::uint32_t i = size; i > 1; --i) std::swap(order[i - 1], order[random.below(i)]);
  return order;
}

}  // namespace seng
