#include <algorithm>
#include <vector>

#include "actors/engine/cuda/device_work.h"

namespace seng::cuda {
namespace {

// A and G are added up by cublasSsyrk from rows of (sample, position): unfolded inputs, and output gradients
// position by position. A linear layer's input is an image of one position.
class CublasKroneckerSums final : public KroneckerSums, private DeviceWork {
 public:
  CublasKroneckerSums(CudaBackend& backend, const KroneckerPlan& plan) : DeviceWork(backend), plan_(plan) {
    const std::size_t order = std::max(plan.n, plan.m), columns = plan.group() * plan.positions;
    const std::size_t raw = plan.group() * std::max(plan.input_floats(), plan.output_floats());
    host_ = aside(std::max({raw, plan.packed_a(), plan.packed_g()}));
    rows_ = aside(columns * order);
    part_ = aside(order * order);
    sums_a_ = aside(2 * plan.packed_a());
    sums_g_ = aside(2 * plan.packed_g());
    reserve_work();
  }

  void sum(std::size_t samples, const float* inputs, const float* gradients, float* a, float* g) override {
    begin();
    add(samples, inputs, gradients);
    finish({}, sums_a_, plan_.packed_a(), a);
    finish({}, sums_g_, plan_.packed_g(), g);
  }

  void fold(const KroneckerArrivals& arrived, const KroneckerMeans& before, float* a, float* g) override {
    begin();
    if (!arrived.sums) add(arrived.samples, arrived.first, arrived.second);
    for (std::size_t i = 0; arrived.sums && i < arrived.count; ++i) {
      add_packed(arrived.first + i * plan_.packed_a(), plan_.packed_a(), sums_a_);
      add_packed(arrived.second + i * plan_.packed_g(), plan_.packed_g(), sums_g_);
    }
    const double scale = 1 / double(arrived.samples);
    finish({scale, before.retained, before.a}, sums_a_, plan_.packed_a(), a);
    finish({scale / double(plan_.positions), before.retained, before.g}, sums_g_, plan_.packed_g(), g);
  }

 private:
  void begin() {
    backend().enter();
    SENG_CUDA(cudaMemsetAsync(at(sums_a_), 0, plan_.packed_a() * sizeof(double), stream()));
    SENG_CUDA(cudaMemsetAsync(at(sums_g_), 0, plan_.packed_g() * sizeof(double), stream()));
  }

  void add(std::size_t samples, const float* inputs, const float* gradients) {
    for (std::size_t first = 0; first < samples; first += plan_.group()) {
      const std::size_t count = std::min(plan_.group(), samples - first), columns = count * plan_.positions;
      upload(inputs + first * plan_.input_floats(), count * plan_.input_floats());
      SENG_CUDA_LAUNCH(
          launch_unfold(stream(), at(host_), unfolding(count), int(count), 0, plan_.n, at(rows_)));
      add_products(at(rows_), plan_.n, columns, sums_a_);
      upload(gradients + first * plan_.output_floats(), count * plan_.output_floats());
      if (plan_.positions > 1)
        SENG_CUDA_LAUNCH(launch_transpose(stream(), {at(host_), Element::kF32}, at(rows_), Element::kF32,
                                          int(count), int(plan_.m), int(plan_.positions)));
      add_products(plan_.positions > 1 ? at(rows_) : at(host_), plan_.m, columns, sums_g_);
    }
  }

  Unfolding unfolding(std::size_t count) const {
    if (!plan_.convolution)
      return {{int(count), int(plan_.weights()), 1, 1, false, Element::kF32}, 1, 1, 1, 1, 1, 0};
    return unfolding_of(*plan_.convolution, int(count));
  }

  // sums += X^T X of X = rows [columns, order]. The lower triangle of ours is cuBLAS's upper one.
  void add_products(const float* rows, std::size_t order, std::size_t columns, std::size_t sums) {
    const float one = 1, zero = 0;
    for (std::size_t k = 0; k < columns; k += KroneckerPlan::kFloatColumns) {
      const std::size_t depth = std::min(KroneckerPlan::kFloatColumns, columns - k);
      SENG_CUDA(cublasSsyrk(backend().cublas(), CUBLAS_FILL_MODE_UPPER, CUBLAS_OP_N, whole(order),
                            whole(depth), &one, rows + k * order, whole(order), &zero, at(part_),
                            whole(order)));
      SENG_CUDA_LAUNCH(launch_add_triangle(stream(), at(part_), doubles(sums), order));
    }
  }

  void add_packed(const float* packed, std::size_t count, std::size_t sums) {
    upload(packed, count);
    SENG_CUDA_LAUNCH(launch_add_to(stream(), at(host_), doubles(sums), 1, count, count));
  }

  // `blend.before` is the host's.
  void finish(MeanBlend blend, std::size_t sums, std::size_t count, float* out) {
    if (blend.before != nullptr) {
      upload(blend.before, count);
      blend.before = at(host_);
    }
    SENG_CUDA_LAUNCH(launch_blend_mean(stream(), blend, doubles(sums), at(host_), count));
    copy_back(at(host_), out, count * sizeof(float));
  }

  void upload(const float* values, std::size_t count) {
    backend().upload(values, at(host_), count * sizeof(float));
  }

  const KroneckerPlan plan_;
  std::size_t host_, rows_, part_, sums_a_, sums_g_;
};

// Q_G, Q_A (eigenvectors as rows) and the eigenvalues; a matrix [r, c] of ours is cuBLAS's [c, r].
class CusolverKroneckerInverse final : public KroneckerInverse, private DeviceWork {
 public:
  CusolverKroneckerInverse(CudaBackend& backend, const KroneckerPlan& plan)
      : DeviceWork(backend), plan_(plan) {
    const std::size_t n = plan.n, m = plan.m;
    values_g_ = padded(m * m);
    vectors_a_ = values_g_ + padded(m);
    values_a_ = vectors_a_ + padded(n * n);
    bytes_ = (values_a_ + padded(n)) * sizeof(float);
    memory_ = backend.take(bytes_);
    room_a_ = backend.solver().eigen_room(n, vectors_a(), values_a());
    room_g_ = backend.solver().eigen_room(m, vectors_g(), values_g());
    backend.reserve(CudaBackend::kKernelSlot, std::max(room_a_.device, room_g_.device));
    packed_ = aside(std::max({plan.packed_a(), plan.packed_g(), plan.parameters()}));
    matrix_ = aside(plan.parameters());
    half_ = aside(plan.parameters());
    sums_ = aside(2 * m);
    info_ = aside(1);
    reserve_work();
  }
  ~CusolverKroneckerInverse() override { backend().give_back(std::move(memory_), bytes_); }

  bool decompose(const float* a, const float* g) override {
    backend().enter();
    return decompose(a, plan_.n, vectors_a(), values_a(), room_a_) &&
           decompose(g, plan_.m, vectors_g(), values_g(), room_g_);
  }

  void precondition(const float* g, double lambda, float* d, Memory where) override {
    const std::size_t m = plan_.m, n = plan_.n;
    rotate(g, where);
    SENG_CUDA_LAUNCH(launch_divide_by_eigenvalues(stream(), eigenvalues(), lambda, at(matrix_)));
    // Q_G^T x, then that times Q_A.
    gemm(CUBLAS_OP_N, CUBLAS_OP_T, n, m, m, 1, {at(matrix_), n}, {vectors_g(), m}, 0, at(half_), n);
    gemm(CUBLAS_OP_N, CUBLAS_OP_N, n, m, n, 1, {vectors_a(), n}, {at(half_), n}, 0, at(matrix_), n);
    float* out = at(matrix_);
    if (plan_.bias) {
      out = where == Memory::kDevice ? d : at(packed_);
      SENG_CUDA_LAUNCH(launch_split_bias(stream(), at(matrix_), out, m, plan_.weights()));
    }
    const std::size_t bytes = plan_.parameters() * sizeof(float);
    if (where == Memory::kHost) return copy_back(out, d, bytes);
    if (out != d) backend().upload(out, d, bytes, Memory::kDevice);
  }

  double curvature_along(const float* v) override {
    rotate(v, Memory::kHost);
    SENG_CUDA_LAUNCH(launch_weighted_squares(stream(), eigenvalues(), at(matrix_), doubles(sums_)));
    std::vector<double> rows(plan_.m);
    copy_back(at(sums_), rows.data(), rows.size() * sizeof(double));
    double sum = 0;
    for (const double row : rows) sum += row;
    return sum;
  }

  std::size_t bytes() const override { return bytes_; }

 private:
  float* vectors_g() const { return static_cast<float*>(memory_.get()); }
  float* values_g() const { return vectors_g() + values_g_; }
  float* vectors_a() const { return vectors_g() + vectors_a_; }
  float* values_a() const { return vectors_g() + values_a_; }
  KroneckerValues eigenvalues() const { return {values_g(), values_a(), plan_.m, plan_.n}; }

  bool decompose(const float* packed, std::size_t order, float* vectors, float* values,
                 const Solver::Room& room) {
    backend().upload(packed, at(packed_), order * (order + 1) / 2 * sizeof(float));
    SENG_CUDA_LAUNCH(launch_unpack(stream(), at(packed_), vectors, order));
    backend().solver().eigen(order, vectors, values, room, backend().scratch(CudaBackend::kKernelSlot),
                             reinterpret_cast<int*>(at(info_)));
    int info = 0;
    copy_back(at(info_), &info, sizeof info);
    return check_info(info, "cusolverDnXsyevd");
  }

  // matrix_ = Q_G g Q_A^T with the eigenvectors as rows.
  void rotate(const float* g, Memory where) {
    backend().enter();
    const std::size_t m = plan_.m, n = plan_.n;
    float* to = plan_.bias ? at(packed_) : at(matrix_);
    backend().upload(g, to, plan_.parameters() * sizeof(float), where);
    if (plan_.bias) SENG_CUDA_LAUNCH(launch_join_bias(stream(), to, at(matrix_), m, plan_.weights()));
    gemm(CUBLAS_OP_N, CUBLAS_OP_N, n, m, m, 1, {at(matrix_), n}, {vectors_g(), m}, 0, at(half_), n);
    gemm(CUBLAS_OP_T, CUBLAS_OP_N, n, m, n, 1, {vectors_a(), n}, {at(half_), n}, 0, at(matrix_), n);
  }

  const KroneckerPlan plan_;
  std::size_t values_g_, vectors_a_, values_a_;  // places, in floats; Q_G is the first
  std::size_t bytes_;
  DeviceMemory memory_;
  Solver::Room room_a_, room_g_;
  std::size_t packed_, matrix_, half_, sums_, info_;
};

}  // namespace

std::unique_ptr<KroneckerSums> CudaBackend::plan_kronecker_sums(const KroneckerPlan& plan) {
  return std::make_unique<CublasKroneckerSums>(*this, plan);
}
std::unique_ptr<KroneckerInverse> CudaBackend::plan_kronecker_inverse(const KroneckerPlan& plan) {
  return std::make_unique<CusolverKroneckerInverse>(*this, plan);
}

}  // namespace seng::cuda
