#include "actors/engine/cuda/device_samples.h"

#include <algorithm>
#include <climits>

namespace seng::cuda {
namespace {

int whole(std::size_t count) {
  SENG_CHECK(count <= INT_MAX, "more than cuBLAS counts");
  return static_cast<int>(count);
}

// So that each area begins on 256 bytes.
std::size_t padded(std::size_t floats) {
  return (std::max<std::size_t>(floats, 1) + 63) / 64 * 64;
}

}  // namespace

DeviceSamples::DeviceSamples(CudaBackend& backend, const SamplesPlan& plan, std::size_t first,
                             std::size_t second)
    : backend_(backend), plan_(plan), second_(padded(first)) {
  backend.cublas();
  bytes_ = (second_ + padded(second)) * sizeof(float);
  memory_ = backend.take(bytes_);
}

std::size_t DeviceSamples::aside(std::size_t floats) {
  const std::size_t place = work_floats_;
  work_floats_ += padded(floats);
  return place;
}

void DeviceSamples::plan_products(std::size_t rows, std::size_t columns, bool of_factors) {
  part_ = aside(rows * columns);
  if (of_factors) sums_ = aside(4 * rows * columns);
}

void DeviceSamples::copy_back(const void* from, void* to, std::size_t bytes) {
  const float* view = backend_.host_view(static_cast<const float*>(from), bytes / sizeof(float), 0, 1);
  std::copy_n(reinterpret_cast<const std::byte*>(view), bytes, static_cast<std::byte*>(to));
}

void DeviceSamples::gemm(cublasOperation_t op_a, cublasOperation_t op_b, std::size_t m, std::size_t n,
                         std::size_t k, float alpha, Operand a, Operand b, float beta, float* c,
                         std::size_t ldc) {
  SENG_CUDA(cublasSgemm(backend_.cublas(), op_a, op_b, whole(m), whole(n), whole(k), &alpha, a.data,
                        whole(a.ld), b.data, whole(b.ld), &beta, c, whole(ldc)));
}

void DeviceSamples::gemm_each(cublasOperation_t op_b, std::size_t m, std::size_t n, std::size_t k, Operand a,
                              Operand b, float* c, std::size_t count) {
  const float one = 1, zero = 0;
  const auto stride = [](std::size_t floats) { return static_cast<long long>(floats); };
  SENG_CUDA(cublasSgemmStridedBatched(backend_.cublas(), CUBLAS_OP_N, op_b, whole(m), whole(n), whole(k),
                                      &one, a.data, whole(a.ld), stride(m * k), b.data, whole(b.ld),
                                      stride(n * k), &zero, c, whole(m), stride(m * n), whole(count)));
}

void DeviceSamples::gemv(cublasOperation_t op, std::size_t m, std::size_t n, float alpha, const float* a,
                         std::size_t lda, const float* x, std::size_t step, float beta, float* y) {
  SENG_CUDA(cublasSgemv(backend_.cublas(), op, whole(m), whole(n), &alpha, a, whole(lda), x, whole(step),
                        &beta, y, 1));
}

void DeviceSamples::add_products(Operand a, std::size_t rows, Operand b, std::size_t columns,
                                 std::size_t depth, double* sums, std::size_t ld) {
  for (std::size_t k = 0; k < depth; k += kDepth) {
    gemm(CUBLAS_OP_T, CUBLAS_OP_N, columns, rows, std::min(kDepth, depth - k), 1, {b.data + k, b.ld},
         {a.data + k, a.ld}, 0, at(part_), columns);
    SENG_CUDA_LAUNCH(launch_add_to(stream(), at(part_), sums, rows, columns, ld));
  }
}

void DeviceSamples::put_factor_products(const Factors& rows, const Factors& columns, double* gram,
                                        std::size_t ld) {
  const std::size_t p = plan_.factors, r = rows.samples * p, c = columns.samples * p;
  double *inputs = doubles(sums_), *outputs = inputs + r * c;
  SENG_CUDA(cudaMemsetAsync(inputs, 0, 2 * r * c * sizeof(double), stream()));
  const std::size_t width = plan_.width();
  add_products({rows.a, width}, r, {columns.a, width}, c, width, inputs, c);
  add_products({rows.g, plan_.m}, r, {columns.g, plan_.m}, c, plan_.m, outputs, c);
  SENG_CUDA_LAUNCH(
      launch_block_products(stream(), inputs, outputs, gram, ld, rows.samples, columns.samples, p));
}

}  // namespace seng::cuda
