#include <vector>

#include "actors/engine/cpu/cpu_backend.h"

namespace seng::cpu {
namespace {

class CpuSketch final : public VectorSketch {
 public:
  explicit CpuSketch(const SketchPlan& plan)
      : plan_(plan), half_(plan.left.width * plan.right.rows()), out_(plan.left.rows() * plan.right.rows()) {}

  const float* apply(const float* g) override {
    const std::size_t m = plan_.left.width, q = plan_.right.rows(), columns = plan_.columns;
    for (std::size_t o = 0; o < m; ++o)
      for (std::size_t j = 0; j < q; ++j)
        half_[o * q + j] = row(plan_.right, j, [&](std::size_t column) {
          return column < columns ? g[o * columns + column] : g[m * columns + o];
        });
    for (std::size_t l = 0; l < plan_.left.rows(); ++l)
      for (std::size_t j = 0; j < q; ++j)
        out_[l * q + j] = row(plan_.left, l, [&](std::size_t o) { return half_[o * q + j]; });
    return out_.data();
  }
  std::size_t bytes() const override { return (half_.size() + out_.size()) * sizeof(float); }

 private:
  template <class Value>
  static float row(const SketchSide& side, std::size_t r, const Value& value) {
    std::size_t i = side.begins[r];
    float sum = side.adds ? 0.0f : side.factor[i] * value(side.index[i]);
    for (i += side.adds ? 0 : 1; i < side.begins[r + 1]; ++i) sum += side.factor[i] * value(side.index[i]);
    return sum;
  }

  SketchPlan plan_;
  std::vector<float> half_, out_;
};

}  // namespace

std::unique_ptr<VectorSketch> CpuBackend::plan_sketch(const SketchPlan& plan) {
  return std::make_unique<CpuSketch>(plan);
}

}  // namespace seng::cpu
