#include <cmath>

#include "actors/engine/cpu/cpu_backend.h"
#include "actors/engine/random.h"

namespace seng::cpu {
namespace {

class CpuDropout final : public Dropout {
 public:
  CpuDropout(TensorShape shape, double probability)
      : samples_(shape.n),
        elements_(shape.count() / std::max(shape.n, 1)),
        dropped_below_(static_cast<std::uint64_t>(std::llround(probability * 0x1p32))),
        scale_(static_cast<float>(1.0 / (1.0 - probability))) {}

  void run(const DropoutKey* key, std::uint32_t of_layer, const float* x, float* y) override {
    for (int sample = 0; sample < samples_; ++sample) {
      const Random random(key->seed, RandomPurpose::kDropout, key->step, key->first_sample + sample);
      const std::uint64_t layer = std::uint64_t{of_layer} << 32;
      const std::size_t row = sample * elements_;
      for (std::size_t i = 0; i < elements_; i += 4) {
        const auto words = random.at(layer | (i / 4));
        for (std::size_t k = 0; k < 4 && i + k < elements_; ++k) {
          y[row + i + k] = words[k] < dropped_below_ ? 0.0f : x[row + i + k] * scale_;
        }
      }
    }
  }

 private:
  int samples_;
  std::size_t elements_;
  std::uint64_t dropped_below_;
  float scale_;
};

}  // namespace

std::unique_ptr<Dropout> CpuBackend::plan_dropout(TensorShape shape, double probability) {
  return std::make_unique<CpuDropout>(shape, probability);
}

}  // namespace seng::cpu
