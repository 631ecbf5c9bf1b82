#include "actors/engine/cuda/device_samples.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <numeric>
#include <vector>

namespace seng::cuda {

DeviceSamples::DeviceSamples(CudaBackend& backend, const SamplesPlan& plan, std::size_t first,
                             std::size_t second)
    : DeviceWork(backend), plan_(plan), second_(padded(first)) {
  bytes_ = (second_ + padded(second)) * sizeof(float);
  memory_ = backend.take(bytes_);
}

DeviceSamples::~DeviceSamples() {
  backend().give_back(std::move(memory_), bytes_);
  backend().give_back(std::move(buckets_memory_), buckets_bytes_);
  backend().give_back(std::move(system_memory_), system_bytes_);
}

void DeviceSamples::plan_products(std::size_t rows, std::size_t columns, bool of_factors) {
  part_ = aside(rows * columns);
  if (of_factors) sums_ = aside(4 * rows * columns);
}

void DeviceSamples::plan_step() {
  const std::size_t n = plan_.samples;
  gram_ = aside(2 * n * n);
  result_ = aside(2 * n);
  weights_ = aside(2 * n);
  direction_ = aside(plan_.parameters);
  found_ = aside(2 * kFindBlocks);
  halves_ = aside(std::min(kHalves, std::max(plan_.first_floats(), plan_.second_floats())) / 2 + 1);
}

void DeviceSamples::bring(const float* host, float* to, std::size_t count) {
  backend().upload(host, to, count * sizeof(float));
}

void DeviceSamples::bring(const Bf16* host, float* to, std::size_t count) {
  for (std::size_t done = 0; done < count; done += kHalves) {
    const std::size_t piece = std::min(kHalves, count - done);
    backend().upload(host + done, at(halves_), piece * sizeof(Bf16));
    SENG_CUDA_LAUNCH(
        launch_convert(stream(), {at(halves_), Element::kBf16}, to + done, Element::kF32, piece));
  }
}

// The host's comes to where its direction will be.
const float* DeviceSamples::gradient_there(const float* g, Memory where) {
  backend().enter();
  if (where == Memory::kDevice) return g;
  backend().upload(g, at(direction_), plan_.parameters * sizeof(float));
  return at(direction_);
}

double* DeviceSamples::gram_there() {
  backend().enter();
  const std::size_t n = plan_.samples;
  SENG_CUDA(cudaMemsetAsync(at(gram_), 0, n * n * sizeof(double), stream()));
  add_gram(doubles(gram_));
  return doubles(gram_);
}

void DeviceSamples::gram(double* gram) {
  copy_back(gram_there(), gram, plan_.samples * plan_.samples * sizeof(double));
}

void DeviceSamples::project(const float* g, double* c) {
  project_there(gradient_there(g, Memory::kHost), doubles(result_));
  copy_back(at(result_), c, plan_.samples * sizeof(double));
}

void DeviceSamples::correct(const float* g, const double* b, double inverse_lambda, float* d) {
  const float* there = gradient_there(g, Memory::kHost);
  backend().upload(b, at(result_), plan_.samples * sizeof(double));
  correct_there(there, {doubles(result_), 1}, inverse_lambda, d, Memory::kHost);
}

void DeviceSamples::precondition(const float* g, double inverse_lambda, float* d, Memory where) {
  const float* there = gradient_there(g, where);
  solve_there(there);
  correct_there(there, {solution(), double(plan_.samples)}, inverse_lambda, d, where);
}

void DeviceSamples::solve(const float* g, Memory where) {
  solve_there(gradient_there(g, where));
}

void DeviceSamples::correct_by(const float* g, const Samples& solved, double inverse_lambda, float* d,
                               Memory where) {
  const auto& system = static_cast<const DeviceSamples&>(solved);
  const float* there = gradient_there(g, where);
  correct_there(there, {system.solution(), double(system.plan_.samples)}, inverse_lambda, d, where);
}

SampleSystem DeviceSamples::form_system(double lambda, std::size_t workers) {
  const std::size_t n = plan_.samples;
  const double* gram = gram_there();
  if (!system_memory_) {
    system_bytes_ = (n * n + n) * sizeof(double);
    system_memory_ = backend().take(system_bytes_);
  }
  const Solver::Room room = backend().solver().cholesky_room(n, factor());
  backend().reserve(CudaBackend::kKernelSlot, room.device);
  auto* found = reinterpret_cast<long long*>(at(found_));
  const auto not_finite = [&](const double* matrix) {
    SENG_CUDA_LAUNCH(launch_find_not_finite(stream(), matrix, n, found));
    std::array<long long, kFindBlocks> of_block;
    copy_back(found, of_block.data(), sizeof of_block);
    long long first = -1;
    for (const long long at : of_block)
      if (at >= 0 && (first < 0 || at < first)) first = at;
    return first;
  };
  if (const long long first = not_finite(gram); first >= 0)
    return {.overflow = SampleSystem::Entry{std::size_t(first) / n, std::size_t(first) % n}};
  SENG_CUDA_LAUNCH(launch_damped_gram(stream(), {n, n / workers, lambda}, gram, factor()));
  int info = 0;
  backend().solver().cholesky(n, factor(), room, backend().scratch(CudaBackend::kKernelSlot),
                              reinterpret_cast<int*>(found));
  copy_back(found, &info, sizeof info);
  // An overflow within need not stop the factorisation.
  return {.formed = check_info(info, "cusolverDnXpotrf") && not_finite(factor()) < 0};
}

void DeviceSamples::solve_there(const float* g) {
  SENG_CHECK(system_memory_ != nullptr, "samples without a system");
  project_there(g, solution());
  backend().solver().solve(plan_.samples, factor(), solution(), reinterpret_cast<int*>(at(found_)));
}

void DeviceSamples::correct_there(const float* g, Solution of, double inverse_lambda, float* d,
                                  Memory where) {
  const auto& [b, divisor] = of;
  const auto scale = static_cast<float>(inverse_lambda);
  const std::size_t n = plan_.samples;
  float *weights = at(weights_), *out = where == Memory::kDevice ? d : at(direction_);
  if (out != g) backend().upload(g, out, plan_.parameters * sizeof(float), Memory::kDevice);
  if (buckets_.count > 0) {
    SENG_CUDA_LAUNCH(
        launch_bucket_weights(stream(), b, divisor, buckets_.signs_of_b, weights, weights + n, n));
    correct_by_buckets(scale, out);
  } else {
    SENG_CUDA_LAUNCH(launch_sample_weights(stream(), b, divisor, weights, n));
    correct_exactly(weights, scale, out);
  }
  if (where == Memory::kHost) copy_back(out, d, plan_.parameters * sizeof(float));
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
  buckets_memory_ = backend().take(buckets_bytes_);
  backend().enter();
  backend().upload(words.data(), buckets_memory_.get(), buckets_bytes_);
}

void DeviceSamples::correct_by_buckets(float scale, float* out) {
  const std::size_t n = plan_.n, m = plan_.m, width = plan_.width(), p = plan_.factors,
                    count = buckets_.count;
  const float *of_a = at(weights_), *of_g = of_a + plan_.samples;
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

void DeviceSamples::gemm_each(cublasOperation_t op_b, std::size_t m, std::size_t n, std::size_t k, Operand a,
                              Operand b, float* c, std::size_t count) {
  const float one = 1, zero = 0;
  const auto stride = [](std::size_t floats) { return static_cast<long long>(floats); };
  SENG_CUDA(cublasSgemmStridedBatched(backend().cublas(), CUBLAS_OP_N, op_b, whole(m), whole(n), whole(k),
                                      &one, a.data, whole(a.ld), stride(m * k), b.data, whole(b.ld),
                                      stride(n * k), &zero, c, whole(m), stride(m * n), whole(count)));
}

void DeviceSamples::gemv(cublasOperation_t op, std::size_t m, std::size_t n, float alpha, const float* a,
                         std::size_t lda, const float* x, std::size_t step, float beta, float* y) {
  SENG_CUDA(cublasSgemv(backend().cublas(), op, whole(m), whole(n), &alpha, a, whole(lda), x, whole(step),
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
