#include <cmath>

#include <gtest/gtest.h>

#include "actors/engine/backend.h"

namespace seng {
namespace {

class DropoutMask : public ::testing::Test {
 protected:
  struct Place {
    DropoutKey key;
    std::uint32_t layer;
  };
  std::vector<float> mask(const Place& place, int samples = 16, int elements = 999,
                          double probability = 0.3) {
    auto backend = *make_backend(Device::kCpu);
    const auto dropout = backend->plan_dropout({samples, elements}, probability);
    std::vector<float> ones(samples * elements, 1.0f), kept(ones.size());
    dropout->run(&place.key, place.layer, ones.data(), kept.data());
    return kept;
  }
};

TEST_F(DropoutMask, DropsTheRightShareAndScalesTheRest) {
  const auto kept = mask({{1, 2, 3}, 4});
  double dropped = 0;
  for (const float value : kept) {
    if (value == 0) {
      ++dropped;
    } else {
      EXPECT_FLOAT_EQ(value, 1 / 0.7f);
    }
  }
  const double n = kept.size();
  EXPECT_NEAR(dropped / n, 0.3, 4 * std::sqrt(0.3 * 0.7 / n));
}

TEST_F(DropoutMask, IsAFunctionOfSeedStepLayerAndPlaceInTheGlobalBatch) {
  const Place key{{1, 2, 32}, 4};
  const auto kept = mask(key);
  EXPECT_EQ(kept, mask(key));
  for (const Place& other : {Place{{9, 2, 32}, 4}, {{1, 9, 32}, 4}, {{1, 2, 99}, 4}, {{1, 2, 32}, 9}}) {
    EXPECT_NE(kept, mask(other));
  }
  // The same samples cut into other micro-batches have the same masks.
  const auto later = mask({{1, 2, 40}, 4}, 8);
  EXPECT_TRUE(std::equal(later.begin(), later.end(), kept.begin() + 8 * 999));
}

TEST_F(DropoutMask, ZeroProbabilityKeepsAll) {
  for (const float value : mask({{1, 2, 3}, 4}, 2, 100, 0.0)) EXPECT_EQ(value, 1.0f);
}

}  // namespace
}  // namespace seng
