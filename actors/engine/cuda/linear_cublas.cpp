#include "actors/engine/cuda/cuda_backend.h"

namespace seng::cuda {
namespace {

// cuBLAS reads columns where ours are rows: a row-major matrix [r, c] is its [c, r] with leading dimension c.
// So y = x W^T is asked for as y^T = W x^T, and so on.
class CublasLinear final : public Linear {
 public:
  CublasLinear(CudaBackend& backend, const LinearPlan& plan)
      : backend_(backend), plan_(plan), output_{plan.batch, plan.out} {
    backend.cublas();
    if (plan.training && plan.bias) {
      backend.reserve(CudaBackend::kBetweenSlot,
                      RowChunks(output_.rows()).count() * plan.out * sizeof(float));
    }
  }

  void forward(const float* x, const float* weight, const float* bias, float* y) override {
    // y^T [out, batch] = W [out, in] x^T [in, batch]
    product(CUBLAS_OP_T, CUBLAS_OP_N, plan_.out, plan_.batch, plan_.in, weight, plan_.in, x, plan_.in, y,
            plan_.out);
    if (plan_.bias) SENG_CUDA_LAUNCH(launch_add_bias(backend_.stream(), y, bias, output_));
  }

  void backward_data(const float* dy, const float* weight, float* dx) override {
    // dx^T [in, batch] = W^T [in, out] dy^T [out, batch]
    product(CUBLAS_OP_N, CUBLAS_OP_N, plan_.in, plan_.batch, plan_.out, weight, plan_.in, dy, plan_.out, dx,
            plan_.in);
  }

  void backward_weights(const float* x, const float* dy, float* weight_gradient,
                        float* bias_gradient) override {
    // dW^T [in, out] = x^T [in, batch] dy [batch, out]
    product(CUBLAS_OP_N, CUBLAS_OP_T, plan_.in, plan_.out, plan_.batch, x, plan_.in, dy, plan_.out,
            weight_gradient, plan_.in);
    if (plan_.bias) {
      SENG_CUDA_LAUNCH(launch_channel_sums(
          backend_.stream(), dy, output_, backend_.scratch_floats(CudaBackend::kBetweenSlot), bias_gradient));
    }
  }

 private:
  // C [m, n] = op(A) [m, k] op(B) [k, n], all as cuBLAS reads them.
  void product(cublasOperation_t op_a, cublasOperation_t op_b, int m, int n, int k, const float* a, int lda,
               const float* b, int ldb, float* c, int ldc) {
    const float one = 1, zero = 0;
    SENG_CUDA(cublasSgemm(backend_.cublas(), op_a, op_b, m, n, k, &one, a, lda, b, ldb, &zero, c, ldc));
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
