#include "actors/engine/cuda/cuda_backend.h"

namespace seng::cuda {
namespace {

// Layouts are dense: an operation element by element needs only their number and kind.
class CudaRelu final : public Relu {
 public:
  CudaRelu(CudaBackend& backend, const Extents& extents)
      : backend_(backend), element_(extents.element), count_(extents.count()) {}

  void forward(const float* x, float* y) override {
    SENG_CUDA_LAUNCH(launch_relu(backend_.stream(), element_, x, y, count_));
  }
  void backward(const float* y, const float* dy, float* dx) override {
    SENG_CUDA_LAUNCH(launch_relu_backward(backend_.stream(), element_, y, dy, dx, count_));
  }

 private:
  CudaBackend& backend_;
  Element element_;
  std::size_t count_;
};

class CudaAdd final : public Add {
 public:
  CudaAdd(CudaBackend& backend, const Extents& extents, bool relu)
      : backend_(backend), element_(extents.element), count_(extents.count()), relu_(relu) {}

  void run(const float* a, const float* b, float* sum) override {
    SENG_CUDA_LAUNCH(launch_add(backend_.stream(), element_, a, b, sum, count_, relu_));
  }

 private:
  CudaBackend& backend_;
  Element element_;
  std::size_t count_;
  bool relu_;
};

}  // namespace

std::unique_ptr<Relu> CudaBackend::plan_relu(const LayoutPtr& layout) {
  return std::make_unique<CudaRelu>(*this, extents_of(layout));
}

std::unique_ptr<Add> CudaBackend::plan_add(const LayoutPtr& layout, bool relu) {
  return std::make_unique<CudaAdd>(*this, extents_of(layout), relu);
}

}  // namespace seng::cuda
