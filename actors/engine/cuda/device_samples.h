// What the forms of samples' gradients share on a GPU: their memory, places in the backend's scratch space,
// products. Rows of ours are columns of cuBLAS's: an operand [rows, width] is its [width, rows].
#pragma once

#include <cstddef>

#include "actors/engine/cuda/cuda_backend.h"

namespace seng::cuda {

class DeviceSamples : public Samples {
 public:
  ~DeviceSamples() override;
  std::size_t bytes() const override { return bytes_ + buckets_bytes_; }
  void set_buckets(const SampleBuckets& buckets) override;
  void correct(const float* g, const double* b, double inverse_lambda, float* d) final;

 protected:
  // Memory of so many floats, and of so many more that begin on a boundary of their own.
  DeviceSamples(CudaBackend& backend, const SamplesPlan& plan, std::size_t first, std::size_t second);

  struct Operand {
    const float* data;
    std::size_t ld;
  };
  // Some samples' factors: rows of plan().width() and of plan().m.
  struct Factors {
    const float *a, *g;
    std::size_t samples;
  };

  // out, which is g, becomes (g - R b) * scale; exactly, and weights are b.
  virtual void correct_exactly(const float* weights, float scale, float* out) = 0;
  // The factors of `count` samples from `begin`, until they are asked for again; at most run_samples() at a
  // time, for which plan_factors() makes room.
  virtual Factors factors(std::size_t begin, std::size_t count) = 0;
  virtual std::size_t run_samples() const = 0;
  virtual void plan_factors() = 0;

  CudaBackend& backend() const { return backend_; }
  const SamplesPlan& plan() const { return plan_; }
  cudaStream_t stream() const { return backend_.stream(); }
  float* first() const { return static_cast<float*>(memory_.get()); }
  float* second() const { return first() + second_; }

  // Places in kBetweenSlot, which all blocks share; floats, or doubles in twice as many. While planning; then
  // reserve_work().
  std::size_t aside(std::size_t floats);
  void reserve_work() { backend_.reserve(CudaBackend::kBetweenSlot, work_floats_ * sizeof(float)); }
  // Of the weights of correct(), and of its result.
  void plan_correct();
  // Makes room for what add_products() takes of `rows` times `columns` rows, and put_factor_products() of
  // pairs of them.
  void plan_products(std::size_t rows, std::size_t columns, bool of_factors);
  float* at(std::size_t place) const { return backend_.scratch_floats(CudaBackend::kBetweenSlot) + place; }
  double* doubles(std::size_t place) const { return reinterpret_cast<double*>(at(place)); }

  void copy_back(const void* from, void* to, std::size_t bytes);
  void gemm(cublasOperation_t op_a, cublasOperation_t op_b, std::size_t m, std::size_t n, std::size_t k,
            float alpha, Operand a, Operand b, float beta, float* c, std::size_t ldc);
  // Of `count` samples: c_i = a_i op(b_i), which lie one behind another.
  void gemm_each(cublasOperation_t op_b, std::size_t m, std::size_t n, std::size_t k, Operand a, Operand b,
                 float* c, std::size_t count);
  void gemv(cublasOperation_t op, std::size_t m, std::size_t n, float alpha, const float* a, std::size_t lda,
            const float* x, std::size_t step, float beta, float* y);

  // sums [rows, ld] += a [rows, depth] b^T, b [columns, depth]: floats over runs of kDepth, those in double.
  void add_products(Operand a, std::size_t rows, Operand b, std::size_t columns, std::size_t depth,
                    double* sums, std::size_t ld);
  // gram [samples of `rows`, ld]: the entries of `rows` and `columns`.
  void put_factor_products(const Factors& rows, const Factors& columns, double* gram, std::size_t ld);

  static constexpr std::size_t kDepth = 16384;    // columns added in float
  static constexpr std::size_t kTileRows = 1024;  // of a Gram matrix's products at a time, about

 private:
  void correct_by_buckets(const double* b, float scale, float* out);
  void upload_buckets(const SampleBuckets& buckets);

  CudaBackend& backend_;
  const SamplesPlan plan_;
  std::size_t second_;
  std::size_t work_floats_ = 0;
  std::size_t part_ = 0, sums_ = 0;
  std::size_t bytes_;
  DeviceMemory memory_;  // [first | second]
  // The estimate of R b; its pairs by run of samples and then by bucket, in their order.
  SampleBuckets buckets_;                                   // without what lies on the device
  DeviceMemory buckets_memory_;                             // [sign | order | begins, count + 1 a run]
  std::size_t buckets_bytes_ = 0, order_ = 0, begins_ = 0;  // and where these begin, in words
  std::size_t a_sums_ = 0, g_sums_ = 0, weights_ = 0, direction_ = 0;
};

// Of raw convolutions; samples_cudnn.cpp.
std::unique_ptr<Samples> plan_convolution_samples(CudaBackend& backend, const SamplesPlan& plan);

}  // namespace seng::cuda
