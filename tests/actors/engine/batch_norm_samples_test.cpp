// Per-sample gradients of a batch norm in every layout, against sums in double.
#include "actors/engine/cpu/batch_norm_samples.h"

#include <cmath>
#include <random>

#include <gtest/gtest.h>

namespace seng::cpu {
namespace {

struct Case {
  const char* name;
  std::size_t channels, positions, block;  // block 0: nhwc
};
std::ostream& operator<<(std::ostream& out, const Case& c) {
  return out << c.name << " " << c.channels << "x" << c.positions;
}

constexpr std::size_t kSamples = 3;

class BatchNormSamples : public ::testing::TestWithParam<std::tuple<Case, bool>> {
 protected:
  BatchNormSamples() : relu_(std::get<1>(GetParam())), case_(std::get<0>(GetParam())) {
    const std::size_t block = case_.block == 0 ? case_.channels : case_.block;
    const std::size_t padded = (case_.channels + block - 1) / block * block;
    places_ = {case_.channels,           case_.positions,         block,
               padded * case_.positions, block * case_.positions, block};
    // What lies in the padding and behind the last sample is nobody's business.
    x_.assign((kSamples + 1) * places_.sample, NAN);
    dy_ = x_;
    for (std::size_t i = 0; i < kSamples; ++i) {
      for (std::size_t c = 0; c < case_.channels; ++c) {
        for (std::size_t k = 0; k < case_.positions; ++k)
          x_[at(i, c, k)] = draw(0.4), dy_[at(i, c, k)] = draw(0.1);
      }
    }
    for (std::size_t c = 0; c < case_.channels; ++c) {
      mean_.push_back(draw(0.3)), variance_.push_back(0.5f + std::abs(draw(0)));
      gamma_.push_back(draw(0.5)), beta_.push_back(draw(0));
    }
  }

  float draw(double mean) { return float(std::normal_distribution<double>(mean, 1)(random_)); }
  std::size_t at(std::size_t sample, std::size_t channel, std::size_t position) const {
    return sample * places_.sample + channel / places_.block * places_.next_block +
           position * places_.position + channel % places_.block;
  }

  bool relu_;
  Case case_;
  ChannelPlaces places_;
  std::mt19937_64 random_{std::random_device{}()};
  std::vector<float> x_, dy_, mean_, variance_, gamma_, beta_;
};

TEST_P(BatchNormSamples, AreTheSumsOverPositions) {
  constexpr float kEpsilon = 1e-5f;
  std::vector<float> out(kSamples * 2 * case_.channels, NAN);
  batch_norm_sample_gradients(places_, kSamples, x_.data(), dy_.data(),
                              {mean_.data(), variance_.data(), gamma_.data(), beta_.data(), kEpsilon, relu_},
                              out.data());
  double error = 0, norm = 0;
  for (std::size_t i = 0; i < kSamples; ++i) {
    for (std::size_t c = 0; c < case_.channels; ++c) {
      double dgamma = 0, dbeta = 0;
      for (std::size_t k = 0; k < case_.positions; ++k) {
        const double normalised =
            (double(x_[at(i, c, k)]) - mean_[c]) / std::sqrt(double(variance_[c]) + kEpsilon);
        if (relu_ && !(normalised * gamma_[c] + beta_[c] > 0)) continue;
        dgamma += dy_[at(i, c, k)] * normalised;
        dbeta += dy_[at(i, c, k)];
      }
      const float* sums = out.data() + i * 2 * case_.channels + c;
      error += std::pow(sums[0] - dgamma, 2) + std::pow(sums[case_.channels] - dbeta, 2);
      norm += dgamma * dgamma + dbeta * dbeta;
    }
  }
  EXPECT_FALSE(!(std::sqrt(error) <= 2e-6 * std::sqrt(norm))) << std::sqrt(error / norm);
}

INSTANTIATE_TEST_SUITE_P(
    Layouts, BatchNormSamples,
    ::testing::Combine(::testing::Values(Case{"plain", 5, 784, 1}, Case{"plain", 3, 7, 1},
                                         Case{"blocks of 16", 32, 196, 16}, Case{"blocks of 16", 21, 49, 16},
                                         Case{"blocks of 8", 19, 100, 8}, Case{"nhwc", 27, 65, 0},
                                         Case{"nhwc", 64, 1, 0}),
                       ::testing::Bool()));

}  // namespace
}  // namespace seng::cpu
