#include <algorithm>

#include "actors/engine/cuda/device_work.h"
#include "actors/engine/cuda/low_rank_kernels.h"

namespace seng::cuda {
namespace {

// cuBLAS multiplies in f32 while this lives, whatever the backend's precision.
class PlainProducts {
 public:
  explicit PlainProducts(CudaBackend& backend) : backend_(backend) {
    if (changes()) SENG_CUDA(cublasSetMathMode(backend.cublas(), CUBLAS_DEFAULT_MATH));
  }
  ~PlainProducts() {
    if (changes()) (void)cublasSetMathMode(backend_.cublas(), CUBLAS_TF32_TENSOR_OP_MATH);
  }
  PlainProducts(const PlainProducts&) = delete;
  PlainProducts& operator=(const PlainProducts&) = delete;

 private:
  bool changes() const { return backend_.precision() == Arithmetic::kTf32; }
  CudaBackend& backend_;
};

// The samples of a run at a time, each step for all of them: products by cuBLAS, a batch of one product a
// sample; what follows from a sample's few vectors by own kernels, in double.
class CublasLowRankCuts final : public LowRankCuts, private DeviceWork {
 public:
  CublasLowRankCuts(CudaBackend& backend, const LowRankPlan& plan)
      : DeviceWork(backend),
        plan_(plan),
        vectors_(plan.vectors()),
        run_(plan.run_samples()),
        unfolding_(unfolding_of(plan.convolution, 1)) {
    const auto of_run = [&](std::size_t floats) { return aside(run_ * floats); };
    left_ = of_run(vectors_ * plan.m);
    right_ = of_run(vectors_ * plan.positions);
    product_ = of_run(vectors_ * std::max(plan.m, plan.positions));
    basis_ = of_run(plan.rank * plan.positions);
    grams_ = of_run(2 * vectors_ * vectors_);
    weights_ = of_run(2 * vectors_ * vectors_);
    leading_ = of_run(2 * plan.rank * vectors_);
    unfolded_ = of_run(plan.unfolded_floats());
    if (plan.unfolds_basis()) cut_ = of_run(plan.rank * plan.n);
    out_ = aside(plan.floats());
    if (plan.halves) halves_ = aside(plan.words());
    reserve_work();
  }

  const float* cut(const float* inputs, const float* gradients, float factor,
                   const SubspaceKey& key) override {
    const PlainProducts plainly(backend());
    float* out = at(out_);
    float* cut_gradients = out + plan_.samples * plan_.rank * plan_.width();
    for (std::size_t begin = 0; begin < plan_.samples; begin += run_) {
      const std::size_t count = std::min(run_, plan_.samples - begin);
      find_subspaces(gradients + begin * plan_.m * plan_.positions, key, begin, count);
      combine(leading_, plan_.rank, left_, plan_.m, count, cut_gradients + begin * plan_.rank * plan_.m,
              factor);
      cut_inputs(inputs + begin * plan_.input_floats(), count, out + begin * plan_.rank * plan_.width());
    }
    if (!plan_.halves) return out;
    float* words = at(halves_);
    if (plan_.floats() % 2 != 0)
      SENG_CUDA(cudaMemsetAsync(words + plan_.words() - 1, 0, sizeof(float), stream()));
    SENG_CUDA_LAUNCH(launch_convert(stream(), {out, Element::kF32}, words, Element::kBf16, plan_.floats()));
    return words;
  }

 private:
  // Leaves `basis` [p, positions], and `left` [vectors, m] such that leading * left is what the basis makes
  // of the gradients: G times the vectors that the basis is combined from.
  void find_subspaces(const float* gradients, const SubspaceKey& key, std::size_t first, std::size_t count) {
    const std::size_t m = plan_.m, kappa = plan_.positions;
    SENG_CUDA_LAUNCH(launch_normal_rows(stream(), key, first, {count, vectors_, m}, at(left_)));
    for (int pass = 0; pass < SubspaceIteration::kPasses; ++pass) {
      const bool last = pass + 1 == SubspaceIteration::kPasses;
      gemm_each(CUBLAS_OP_N, kappa, vectors_, m, {gradients, kappa, m * kappa}, {at(left_), m, vectors_ * m},
                {at(product_), kappa, vectors_ * kappa}, count);
      orthonormalise(kappa, count, right_);
      gemm_each(CUBLAS_OP_T, m, vectors_, kappa, {gradients, kappa, m * kappa},
                {at(right_), kappa, vectors_ * kappa}, {at(last ? left_ : product_), m, vectors_ * m}, count);
      if (!last) orthonormalise(m, count, left_);
    }
    SENG_CUDA_LAUNCH(launch_row_grams(stream(), at(left_), {count, vectors_, m}, doubles(grams_)));
    SENG_CUDA_LAUNCH(launch_leading_vectors(stream(), doubles(grams_), count, vectors_, plan_.rank,
                                            doubles(weights_), doubles(leading_)));
    combine(leading_, plan_.rank, right_, kappa, count, at(basis_));
  }

  // Of the rows in `product`.
  void orthonormalise(std::size_t width, std::size_t count, std::size_t to) {
    SENG_CUDA_LAUNCH(launch_row_grams(stream(), at(product_), {count, vectors_, width}, doubles(grams_)));
    SENG_CUDA_LAUNCH(launch_orthonormal_weights(stream(), doubles(grams_), count, vectors_,
                                                SubspaceIteration::kNothing, doubles(weights_)));
    combine(weights_, vectors_, product_, width, count, at(to));
  }

  void combine(std::size_t weights, std::size_t p, std::size_t rows, std::size_t width, std::size_t count,
               float* out, float factor = 1) {
    SENG_CUDA_LAUNCH(
        launch_combine_rows(stream(), doubles(weights), p, at(rows), {count, vectors_, width}, factor, out));
  }

  // Q^T A^T, [count, p, width].
  void cut_inputs(const float* inputs, std::size_t count, float* out) {
    const std::size_t p = plan_.rank, kappa = plan_.positions, width = plan_.width();
    if (!plan_.unfolds_basis()) {
      SENG_CUDA_LAUNCH(launch_unfold(stream(), inputs, unfolding_, int(count), 0, width, at(unfolded_)));
      gemm_each(CUBLAS_OP_N, width, p, kappa, {at(unfolded_), width, kappa * width},
                {at(basis_), kappa, p * kappa}, {out, width, p * width}, count);
      return;
    }
    const std::size_t plane = plan_.plane(), rows = p * plan_.kernel();
    const auto channels = static_cast<std::size_t>(plan_.convolution.channels_in);
    SENG_CUDA_LAUNCH(launch_unfold_maps(stream(), at(basis_), unfolding_, count * p, at(unfolded_)));
    gemm_each(CUBLAS_OP_T, rows, channels, plane, {at(unfolded_), plane, rows * plane},
              {inputs, plane, channels * plane}, {at(cut_), rows, channels * rows}, count);
    SENG_CUDA_LAUNCH(
        launch_put_products(stream(), at(cut_), {count, p, channels, plan_.kernel()}, out, width));
    if (plan_.bias)
      SENG_CUDA_LAUNCH(launch_row_sums(stream(), at(basis_), count * p, kappa, out + plan_.n, width));
  }

  struct Batch {
    const float* data;
    std::size_t ld, stride;
  };
  struct Result {
    float* data;
    std::size_t ld, stride;
  };
  // C [m, n] = op(A) [m, k] B [k, n] of each of `count` samples, all as cuBLAS reads them.
  void gemm_each(cublasOperation_t op, std::size_t m, std::size_t n, std::size_t k, Batch a, Batch b,
                 Result c, std::size_t count) {
    const float one = 1, zero = 0;
    SENG_CUDA(cublasSgemmStridedBatched(backend().cublas(), op, CUBLAS_OP_N, whole(m), whole(n), whole(k),
                                        &one, a.data, whole(a.ld), static_cast<long long>(a.stride), b.data,
                                        whole(b.ld), static_cast<long long>(b.stride), &zero, c.data,
                                        whole(c.ld), static_cast<long long>(c.stride), whole(count)));
  }

  const LowRankPlan plan_;
  const std::size_t vectors_, run_;  // of a sample; samples
  const Unfolding unfolding_;
  // Places, of a run of samples: rows, a product on its way, Q^T; matrices in double; inputs or basis
  // unfolded and their products.
  std::size_t left_, right_, product_, basis_, grams_, weights_, leading_, unfolded_, cut_ = 0;
  std::size_t out_, halves_ = 0;  // of all samples
};

}  // namespace

std::unique_ptr<LowRankCuts> CudaBackend::plan_low_rank_cuts(const LowRankPlan& plan) {
  SENG_CHECK(plan.rank > 0 && plan.rank <= std::min(plan.m, plan.positions), "rank");
  if (plan.vectors() > kMostVectors) return nullptr;
  return std::make_unique<CublasLowRankCuts>(*this, plan);
}

}  // namespace seng::cuda
