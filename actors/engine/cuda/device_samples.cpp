#include "actors/engine/cuda/device_samples.h"

#include <algorithm>
#include <climits>
#include <cstring>
#include <numeric>
#include <vector>

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

DeviceSamples::~DeviceSamples() {
  backend_.give_back(std::move(memory_), bytes_);
  backend_.give_back(std::move(buckets_memory_), buckets_bytes_);
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

void DeviceSamples::plan_correct() {
  weights_ = aside(2 * plan_.samples);
  direction_ = aside(plan_.parameters);
}

void DeviceSamples::correct(const float* g, const double* b, double inverse_lambda, float* d) {
  backend_.enter();
  const auto scale = static_cast<float>(inverse_lambda);
  float* out = at(direction_);
  backend_.upload(g, out, plan_.parameters * sizeof(float));
  if (buckets_.count > 0) {
    correct_by_buckets(b, scale, out);
  } else {
    const std::vector<float> weights(b, b + plan_.samples);
    backend_.upload(weights.data(), at(weights_), weights.size() * sizeof(float));
    correct_exactly(at(weights_), scale, out);
  }
  copy_back(out, d, plan_.parameters * sizeof(float));
}

void DeviceSamples::set_buckets(const SampleBuckets& buckets) {
  SENG_CHECK(plan_.factors > 0 && buckets.count > 0, "buckets of samples without factors");
  SENG_CHECK(buckets.of_pair.size() == plan_.rows() && buckets.sign.size() == plan_.rows(),
             "a bucket and a sign of each pair");
  plan_factors();
  a_sums_ = aside(buckets.count * plan_.width());
  g_sums_ = aside(buckets.count * plan_.m);
  reserve_work();
  upload_buckets(buckets);
  buckets_.count = buckets.count;
  buckets_.signs_of_b = buckets.signs_of_b;
}

void DeviceSamples::upload_buckets(const SampleBuckets& buckets) {
  const std::size_t pairs = plan_.rows(), per_run = run_samples() * plan_.factors;
  std::vector<std::uint32_t> words(pairs), begins;
  std::memcpy(words.data(), buckets.sign.data(), pairs * sizeof(float));
  for (std::size_t first = 0; first < pairs; first += per_run) {
    const std::size_t count = std::min(per_run, pairs - first);
    std::vector<std::uint32_t> order(count);
    std::iota(order.begin(), order.end(), 0u);
    std::ranges::stable_sort(order, {}, [&](std::uint32_t pair) { return buckets.of_pair[first + pair]; });
    for (std::size_t bucket = 0, at = 0; bucket <= buckets.count; ++bucket) {
      while (at < count && buckets.of_pair[first + order[at]] < bucket) ++at;
      begins.push_back(static_cast<std::uint32_t>(at));
    }
    words.insert(words.end(), order.begin(), order.end());
  }
  order_ = pairs;
  begins_ = 2 * pairs;
  words.insert(words.end(), begins.begin(), begins.end());
  buckets_bytes_ = words.size() * sizeof(std::uint32_t);
  buckets_memory_ = backend_.take(buckets_bytes_);
  backend_.enter();
  backend_.upload(words.data(), buckets_memory_.get(), buckets_bytes_);
}

void DeviceSamples::correct_by_buckets(const double* b, float scale, float* out) {
  const std::size_t n = plan_.n, m = plan_.m, width = plan_.width(), p = plan_.factors,
                    count = buckets_.count;
  const std::vector<float> x = buckets_.x(b, plan_.samples), y = buckets_.y(b, plan_.samples);
  float *of_a = at(weights_), *of_g = of_a + plan_.samples;
  backend_.upload(x.data(), of_a, x.size() * sizeof(float));
  backend_.upload(y.data(), of_g, y.size() * sizeof(float));
  const auto* words = static_cast<const std::uint32_t*>(buckets_memory_.get());
  const std::uint32_t* begins = words + begins_;
  for (std::size_t begin = 0; begin < plan_.samples; begin += run_samples(), begins += count + 1) {
    const Factors run = factors(begin, std::min(run_samples(), plan_.samples - begin));
    BucketSums of{words + order_ + begin * p,
                  begins,
                  reinterpret_cast<const float*>(words) + begin * p,
                  of_a + begin,
                  count,
                  p};
    SENG_CUDA_LAUNCH(launch_bucket_sums(stream(), of, run.a, width, begin > 0, at(a_sums_)));
    of.weights = of_g + begin;
    SENG_CUDA_LAUNCH(launch_bucket_sums(stream(), of, run.g, m, begin > 0, at(g_sums_)));
  }
  gemm(CUBLAS_OP_N, CUBLAS_OP_T, n, m, count, -scale, {at(a_sums_), width}, {at(g_sums_), m}, scale, out, n);
  if (plan_.bias)
    gemv(CUBLAS_OP_N, m, count, -scale, at(g_sums_), m, at(a_sums_) + n, width, scale, out + m * n);
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
