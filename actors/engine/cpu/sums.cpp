#include <algorithm>

#include "actors/engine/cpu/cpu_backend.h"

namespace seng::cpu {
namespace {

class CpuSums final : public Sums {
 public:
  explicit CpuSums(std::size_t count) : count_(count) {}

  void scale(float* x, float factor, std::size_t count) override {
    for (std::size_t i = 0; i < count; ++i) x[i] *= factor;
  }
  void copy(const float* x, float* y) override { std::copy_n(x, count_, y); }
  void add(const float* left, const float* right, float* sum) override {
    for (std::size_t i = 0; i < count_; ++i) sum[i] = left[i] + right[i];
  }

 private:
  std::size_t count_;
};

}  // namespace

std::unique_ptr<Sums> CpuBackend::plan_sums(std::size_t count) {
  return std::make_unique<CpuSums>(count);
}

}  // namespace seng::cpu
