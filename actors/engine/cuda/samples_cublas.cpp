#include <algorithm>
#include <climits>
#include <vector>

#include "actors/engine/cuda/cuda_backend.h"

namespace seng::cuda {
namespace {

constexpr std::size_t kDepth = 16384;    // columns added in float
constexpr std::size_t kTileRows = 1024;  // of a Gram matrix's products at a time, about

int whole(std::size_t count) {
  SENG_CHECK(count <= INT_MAX, "more than cuBLAS counts");
  return static_cast<int>(count);
}

// Rows of ours are columns of cuBLAS's: `first` is its [width, rows], `second` [m, rows], a weight [n, m].
class CublasSamples final : public Samples {
 public:
  CublasSamples(CudaBackend& backend, const SamplesPlan& plan) : backend_(backend), plan_(plan) {
    backend.cublas();
    const std::size_t rows = plan.rows(), outputs = plan.factors > 0 ? rows * plan.m : 0;
    const std::size_t p = std::max<std::size_t>(plan.factors, 1);
    tile_ = std::clamp<std::size_t>(kTileRows / p, 1, plan.samples);
    const std::size_t tile = tile_ * p * rows;
    second_ = padded(rows * plan.width());
    bytes_ = (second_ + padded(outputs)) * sizeof(float);
    memory_ = backend.take(bytes_);

    product_ = aside(outputs);
    vector_ = aside(plan.parameters);
    result_ = aside(std::max(2 * plan.samples, plan.parameters));
    part_ = aside(tile);
    gram_ = aside(2 * plan.samples * plan.samples);
    sums_ = aside(plan.factors > 0 ? 4 * tile : 0);
    backend.reserve(CudaBackend::kBetweenSlot, work_floats_ * sizeof(float));
  }

  ~CublasSamples() override { backend_.give_back(std::move(memory_), bytes_); }

  void put(const float* inputs, const float* gradients) override {
    backend_.enter();
    backend_.upload(inputs, first(), plan_.rows() * plan_.width() * sizeof(float));
    if (plan_.factors > 0) backend_.upload(gradients, second(), outputs() * sizeof(float));
  }

  // A tile of samples against all before its end, so that nothing grows with the square of the factors' rows.
  void gram(double* gram) override {
    backend_.enter();
    const std::size_t n = plan_.samples, p = std::max<std::size_t>(plan_.factors, 1);
    SENG_CUDA(cudaMemsetAsync(at(gram_), 0, n * n * sizeof(double), stream()));
    for (std::size_t begin = 0; begin < n; begin += tile_) {
      const std::size_t count = std::min(tile_, n - begin), end = begin + count;
      if (plan_.factors == 0) {
        add_products(first(), plan_.width(), begin, count, end, doubles(gram_) + begin * n, n);
        continue;
      }
      double *inputs = doubles(sums_), *outputs = inputs + count * p * end * p;
      SENG_CUDA(cudaMemsetAsync(inputs, 0, 2 * count * p * end * p * sizeof(double), stream()));
      add_products(first(), plan_.width(), begin * p, count * p, end * p, inputs, end * p);
      add_products(second(), plan_.m, begin * p, count * p, end * p, outputs, end * p);
      SENG_CUDA_LAUNCH(
          launch_block_products(stream(), inputs, outputs, doubles(gram_) + begin * n, n, count, end, p));
    }
    copy_back(at(gram_), gram, n * n * sizeof(double));
  }

  void project(const float* g, double* c) override {
    backend_.enter();
    const std::size_t n = plan_.samples;
    backend_.upload(g, at(vector_), plan_.parameters * sizeof(float));
    if (plan_.factors == 0) {
      // c = R g, in runs of columns.
      SENG_CUDA(cudaMemsetAsync(at(result_), 0, n * sizeof(double), stream()));
      for (std::size_t k = 0; k < plan_.width(); k += kDepth) {
        const std::size_t depth = std::min(kDepth, plan_.width() - k);
        gemv(CUBLAS_OP_T, depth, n, 1, first() + k, plan_.width(), at(vector_) + k, 1, 0, at(part_));
        SENG_CUDA_LAUNCH(launch_add_to(stream(), at(part_), doubles(result_), 1, n, n));
      }
    } else {
      // The rows of [a_k^T W^T], then their inner products with g_k.
      gemm(CUBLAS_OP_T, CUBLAS_OP_N, plan_.m, plan_.rows(), plan_.n, 1, {at(vector_), plan_.n},
           {first(), plan_.width()}, 0, at(product_), plan_.m);
      if (plan_.bias)
        gemm(CUBLAS_OP_N, CUBLAS_OP_N, plan_.m, plan_.rows(), 1, 1,
             {at(vector_) + plan_.m * plan_.n, plan_.m}, {first() + plan_.n, plan_.width()}, 1, at(product_),
             plan_.m);
      SENG_CUDA_LAUNCH(
          launch_row_dots(stream(), second(), at(product_), n, plan_.factors * plan_.m, doubles(result_)));
    }
    copy_back(at(result_), c, n * sizeof(double));
  }

  void correct(const float* g, const double* b, double inverse_lambda, float* d) override {
    backend_.enter();
    const std::vector<float> weights(b, b + plan_.samples);
    const auto scale = static_cast<float>(inverse_lambda);
    float *weight = at(part_), *out = at(result_);
    backend_.upload(weights.data(), weight, weights.size() * sizeof(float));
    backend_.upload(g, out, plan_.parameters * sizeof(float));
    if (plan_.factors == 0) {
      gemv(CUBLAS_OP_N, plan_.width(), plan_.samples, -scale, first(), plan_.width(), weight, 1, scale, out);
    } else {
      SENG_CUDA_LAUNCH(launch_scale_rows(stream(), second(), weight, at(product_), plan_.samples,
                                         plan_.factors * plan_.m));
      gemm(CUBLAS_OP_N, CUBLAS_OP_T, plan_.n, plan_.m, plan_.rows(), -scale, {first(), plan_.width()},
           {at(product_), plan_.m}, scale, out, plan_.n);
      if (plan_.bias)
        gemv(CUBLAS_OP_N, plan_.m, plan_.rows(), -scale, at(product_), plan_.m, first() + plan_.n,
             plan_.width(), scale, out + plan_.m * plan_.n);
    }
    copy_back(out, d, plan_.parameters * sizeof(float));
  }

  std::size_t bytes() const override { return bytes_; }

 private:
  struct Operand {
    const float* data;
    std::size_t ld;
  };

  cudaStream_t stream() const { return backend_.stream(); }
  std::size_t outputs() const { return plan_.rows() * plan_.m; }
  // So that each area begins on 256 bytes.
  static std::size_t padded(std::size_t floats) { return (std::max<std::size_t>(floats, 1) + 63) / 64 * 64; }
  std::size_t aside(std::size_t floats) {
    const std::size_t place = work_floats_;
    work_floats_ += padded(floats);
    return place;
  }
  float* first() { return static_cast<float*>(memory_.get()); }
  float* second() { return first() + second_; }
  float* at(std::size_t place) { return backend_.scratch_floats(CudaBackend::kBetweenSlot) + place; }
  double* doubles(std::size_t place) { return reinterpret_cast<double*>(at(place)); }

  void copy_back(const void* from, void* to, std::size_t bytes) {
    const float* view = backend_.host_view(static_cast<const float*>(from), bytes / sizeof(float), 0, 1);
    std::copy_n(reinterpret_cast<const std::byte*>(view), bytes, static_cast<std::byte*>(to));
  }

  void gemm(cublasOperation_t op_a, cublasOperation_t op_b, std::size_t m, std::size_t n, std::size_t k,
            float alpha, Operand a, Operand b, float beta, float* c, std::size_t ldc) {
    SENG_CUDA(cublasSgemm(backend_.cublas(), op_a, op_b, whole(m), whole(n), whole(k), &alpha, a.data,
                          whole(a.ld), b.data, whole(b.ld), &beta, c, whole(ldc)));
  }
  void gemv(cublasOperation_t op, std::size_t m, std::size_t n, float alpha, const float* a, std::size_t lda,
            const float* x, std::size_t step, float beta, float* y) {
    SENG_CUDA(cublasSgemv(backend_.cublas(), op, whole(m), whole(n), &alpha, a, whole(lda), x, whole(step),
                          &beta, y, 1));
  }

  // sums [count, ld] += rows [begin, begin + count) times the first `end` rows, of `width` values each.
  void add_products(const float* values, std::size_t width, std::size_t begin, std::size_t count,
                    std::size_t end, double* sums, std::size_t ld) {
    for (std::size_t k = 0; k < width; k += kDepth) {
      const std::size_t depth = std::min(kDepth, width - k);
      gemm(CUBLAS_OP_T, CUBLAS_OP_N, end, count, depth, 1, {values + k, width},
           {values + begin * width + k, width}, 0, at(part_), end);
      SENG_CUDA_LAUNCH(launch_add_to(stream(), at(part_), sums, count, end, ld));
    }
  }

  CudaBackend& backend_;
  SamplesPlan plan_;
  std::size_t tile_ = 1;    // samples
  std::size_t second_ = 0;  // where it lies, behind `first`
  // Places in the backend's scratch space, which all blocks share; floats, or doubles in twice as many.
  std::size_t work_floats_ = 0;
  std::size_t product_, vector_, result_, part_, gram_, sums_;
  DeviceMemory memory_;  // [first | second]
  std::size_t bytes_ = 0;
};

}  // namespace

std::unique_ptr<Samples> CudaBackend::plan_samples(const SamplesPlan& plan) {
  return std::make_unique<CublasSamples>(*this, plan);
}

}  // namespace seng::cuda
