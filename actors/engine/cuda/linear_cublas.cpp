#include <algorithm>

#include "actors/engine/cuda/cuda_backend.h"

namespace seng::cuda {
namespace {

cudaDataType_t type_of(Element element) {
  if (element == Element::kF32) return CUDA_R_32F;
  return element == Element::kBf16 ? CUDA_R_16BF : CUDA_R_16F;
}

// Vectors between linear layers are floats in any precision; mixed precision rounds the two operands of a
// product to 16 bits on the way in. Results, and sums, are floats.
//
// cuBLAS reads columns where ours are rows: a row-major matrix [r, c] is its [c, r] with leading dimension c.
// So y = x W^T is asked for as y^T = W x^T, and so on.
class CublasLinear final : public Linear {
 public:
  CublasLinear(CudaBackend& backend, const LinearPlan& plan)
      : backend_(backend), plan_(plan), output_{plan.batch, plan.out} {
    backend.cublas();
    std::size_t between = 0;
    if (plan.training && plan.bias) between = RowChunks(output_.rows()).count() * plan.out * sizeof(float);
    if (rounds()) {
      const std::size_t x = in_count(), y = output_.count(), weight = std::size_t(plan.in) * plan.out;
      const std::size_t most = std::max({room(weight) + room(x), room(weight) + room(y), room(x) + room(y)});
      between = std::max(between, most);
    }
    backend.reserve(CudaBackend::kBetweenSlot, between);
  }

  void forward(const float* x, const float* weight, const float* bias, float* y) override {
    // y^T [out, batch] = W [out, in] x^T [in, batch]
    product(CUBLAS_OP_T, CUBLAS_OP_N, plan_.out, plan_.batch, plan_.in, {weight, weight_count(), plan_.in},
            {x, in_count(), plan_.in}, y, plan_.out);
    if (plan_.bias) SENG_CUDA_LAUNCH(launch_add_bias(backend_.stream(), y, bias, output_));
  }

  void backward_data(const float* dy, const float* weight, float* dx) override {
    // dx^T [in, batch] = W^T [in, out] dy^T [out, batch]
    product(CUBLAS_OP_N, CUBLAS_OP_N, plan_.in, plan_.batch, plan_.out, {weight, weight_count(), plan_.in},
            {dy, output_.count(), plan_.out}, dx, plan_.in);
  }

  void backward_weights(const float* x, const float* dy, float* weight_gradient,
                        float* bias_gradient) override {
    // dW^T [in, out] = x^T [in, batch] dy [batch, out]
    product(CUBLAS_OP_N, CUBLAS_OP_T, plan_.in, plan_.out, plan_.batch, {x, in_count(), plan_.in},
            {dy, output_.count(), plan_.out}, weight_gradient, plan_.in);
    if (plan_.bias) {
      SENG_CUDA_LAUNCH(launch_channel_sums(
          backend_.stream(), dy, output_, backend_.scratch_floats(CudaBackend::kBetweenSlot), bias_gradient));
    }
  }

 private:
  struct Operand {
    const float* data;
    std::size_t count;
    int ld;
  };

  std::size_t in_count() const { return std::size_t(plan_.batch) * plan_.in; }
  std::size_t weight_count() const { return std::size_t(plan_.in) * plan_.out; }
  bool rounds() const { return backend_.element() != Element::kF32; }
  // Of `count` rounded elements: the next ones then lie as cuBLAS likes them.
  static std::size_t room(std::size_t count) { return (count * 2 + 255) / 256 * 256; }

  const void* rounded(const Operand& operand, std::byte* to) {
    SENG_CUDA_LAUNCH(launch_convert(backend_.stream(), {operand.data, Element::kF32}, to, backend_.element(),
                                    operand.count));
    return to;
  }

  // C [m, n] = op(A) [m, k] op(B) [k, n], all as cuBLAS reads them.
  void product(cublasOperation_t op_a, cublasOperation_t op_b, int m, int n, int k, const Operand& a,
               const Operand& b, float* c, int ldc) {
    const float one = 1, zero = 0;
    if (!rounds()) {
      SENG_CUDA(cublasSgemm(backend_.cublas(), op_a, op_b, m, n, k, &one, a.data, a.ld, b.data, b.ld, &zero,
                            c, ldc));
      return;
    }
    auto* between = static_cast<std::byte*>(backend_.scratch(CudaBackend::kBetweenSlot));
    const void* low_a = rounded(a, between);
    const void* low_b = rounded(b, between + room(a.count));
    const cudaDataType_t type = type_of(backend_.element());
    SENG_CUDA(cublasGemmEx(backend_.cublas(), op_a, op_b, m, n, k, &one, low_a, type, a.ld, low_b, type, b.ld,
                           &zero, c, CUDA_R_32F, ldc, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT));
  }

  CudaBackend& backend_;
  LinearPlan plan_;
  Extents output_;
};

}  // namespace

std::unique_ptr<Linear> CudaBackend::plan_linear(const LinearPlan& plan) {
  return std::make_unique<CublasLinear>(*this, plan);
}

}  // namespace seng::cuda
