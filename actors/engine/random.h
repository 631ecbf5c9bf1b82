// Counter-based random numbers: Philox4x32-10 (Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy
// as 1, 2, 3", SC 2011). A value is a function of (seed, purpose, a, b, index) alone: never of thread or
// actor.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace seng {

// Travels into results: never renumber.
enum class RandomPurpose : std::uint32_t {
  kInitialisation = 1,  // a: block, index: element
  kDataOrder = 2,       // a: epoch
  kDropout = 3,         // a: step, b: sample's place in the global batch; index: layer and element
  kAugmentation = 4,    // a: epoch, b: sample
  kSynthetic = 5,
  kSketch = 6,    // a: refresh, b: block
  kSubspace = 7,  // a: refresh * 2^24 + sample's place among the curvature's, b: block
};

// Which random numbers a micro-batch's dropout masks are made of.
struct DropoutKey {
  std::uint64_t seed = 0, step = 0;
  std::uint32_t first_sample = 0;  // place of sample 0 of the batch
};

// The block function: four words of counter and two of key give four words. constexpr, so that device code
// shares it.
constexpr std::array<std::uint32_t, 4> philox4x32_10(std::array<std::uint32_t, 4> counter,
                                                     std::array<std::uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t product0 = std::uint64_t{0xD2511F53u} * counter[0];
    const std::uint64_t product1 = std::uint64_t{0xCD9E8D57u} * counter[2];
    counter = {static_cast<std::uint32_t>(product1 >> 32) ^ counter[1] ^ key[0],
               static_cast<std::uint32_t>(product1),
               static_cast<std::uint32_t>(product0 >> 32) ^ counter[3] ^ key[1],
               static_cast<std::uint32_t>(product0)};
    key[0] += 0x9E3779B9u;
    key[1] += 0xBB67AE85u;
  }
  return counter;
}

// The stream's own key and upper counter are philox4x32_10({a low, a high, b, purpose}, seed), so streams of
// different (seed, purpose, a, b) are unrelated; a value is the block function of {index low, index high,
// upper}.
class Random {
 public:
  constexpr Random(std::uint64_t seed, RandomPurpose purpose, std::uint64_t a = 0, std::uint32_t b = 0) {
    const auto words =
        philox4x32_10({static_cast<std::uint32_t>(a), static_cast<std::uint32_t>(a >> 32), b,
                       static_cast<std::uint32_t>(purpose)},
                      {static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)});
    key_ = {words[0], words[1]};
    high_ = {words[2], words[3]};
  }

  // Four independent words for one index.
  constexpr std::array<std::uint32_t, 4> at(std::uint64_t index) const {
    return philox4x32_10(
        {static_cast<std::uint32_t>(index), static_cast<std::uint32_t>(index >> 32), high_[0], high_[1]},
        key_);
  }

  // Sequential use, from index 0.
  std::uint32_t next_u32();
  std::uint64_t below(std::uint64_t bound);  // uniform in [0, bound), without bias; bound > 0
  float uniform();                           // [0, 1), 24 bits
  float normal();                            // mean 0, variance 1 (Box-Muller)

 private:
  std::array<std::uint32_t, 2> key_{};
  std::array<std::uint32_t, 2> high_{};  // the upper half of the counter
  std::uint64_t index_ = 0;
  std::array<std::uint32_t, 4> words_{};
  int used_ = 4;
  bool has_spare_ = false;
  float spare_ = 0;
};

// Which random numbers the subspaces of some samples' gradients are looked for with.
struct SubspaceKey {
  std::uint64_t seed = 0, refresh = 0;  // the job's seed, the step of the refresh
  std::uint32_t block = 0;
  std::uint32_t first_sample = 0;  // the place of the first of them among all N

  constexpr Random of_sample(std::size_t i) const {
    return {seed, RandomPurpose::kSubspace, (refresh << 24) + first_sample + i, block};
  }
};

}  // namespace seng
