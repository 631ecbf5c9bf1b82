// What the forms of samples' gradients share on a GPU: their memory, their products, R b by an estimate.
#pragma once

#include <cstddef>

#include "actors/engine/cuda/device_work.h"

namespace seng::cuda {

class DeviceSamples : public Samples, protected DeviceWork {
 public:
  ~DeviceSamples() override;
  std::size_t bytes() const override { return bytes_ + buckets_bytes_ + system_bytes_; }
  void set_buckets(const SampleBuckets& buckets) override;
  void gram(double* gram) final;
  void project(const float* g, double* c) final;
  void correct(const float* g, const double* b, double inverse_lambda, float* d) final;
  SampleSystem form_system(double lambda, std::size_t workers) final;
  void precondition(const float* g, double inverse_lambda, float* d, Memory where) final;
  void solve(const float* g, Memory where) final;
  void correct_by(const float* g, const Samples& solved, double inverse_lambda, float* d, Memory where) final;

 protected:
  // Memory of so many floats, and of so many more that begin on a boundary of their own.
  DeviceSamples(CudaBackend& backend, const SamplesPlan& plan, std::size_t first, std::size_t second);

  // Some samples' factors: rows of plan().width() and of plan().m.
  struct Factors {
    const float *a, *g;
    std::size_t samples;
  };

  // R^T R's lower triangle is added onto zeros, [N, N].
  virtual void add_gram(double* gram) = 0;
  // c = R^T g.
  virtual void project_there(const float* g, double* c) = 0;
  // out, which is g, becomes (g - R b) * scale; exactly, and weights are b.
  virtual void correct_exactly(const float* weights, float scale, float* out) = 0;
  // The factors of `count` samples from `begin`, until they are asked for again; at most run_samples() at a
  // time, for which plan_factors() makes room.
  virtual Factors factors(std::size_t begin, std::size_t count) = 0;
  virtual std::size_t run_samples() const = 0;
  virtual void plan_factors() = 0;

  const SamplesPlan& plan() const { return plan_; }
  float* first() const { return static_cast<float*>(memory_.get()); }
  float* second() const { return first() + second_; }

  // Of R^T R, of a direction's vectors, and of what arrives in half the bytes.
  void plan_step();
  // Values of the host come to the device as floats.
  void bring(const float* host, float* to, std::size_t count);
  void bring(const Bf16* host, float* to, std::size_t count);
  // Makes room for what add_products() takes of `rows` times `columns` rows, and put_factor_products() of
  // pairs of them.
  void plan_products(std::size_t rows, std::size_t columns, bool of_factors);
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

  static constexpr std::size_t kDepth = 16384;                  // columns added in float
  static constexpr std::size_t kHalves = std::size_t{2} << 20;  // values widened at a time
  static constexpr std::size_t kTileRows = 1024;  // of a Gram matrix's products at a time, about

 private:
  double* gram_there();
  const float* gradient_there(const float* g, Memory where);
  // b = K^-1 R^T g times N, where it stays.
  void solve_there(const float* g);
  // R b * inverse_lambda is taken from g * inverse_lambda, by b / divisor.
  struct Solution {
    const double* b;
    double divisor;
  };
  void correct_there(const float* g, Solution of, double inverse_lambda, float* d, Memory where);
  void correct_by_buckets(float scale, float* out);
  void upload_buckets(const SampleBuckets& buckets);

  const SamplesPlan plan_;
  std::size_t second_;
  std::size_t part_ = 0, sums_ = 0;
  std::size_t bytes_;
  DeviceMemory memory_;  // [first | second]
  // The estimate of R b; its pairs by run of samples and then by bucket, in their order.
  SampleBuckets buckets_;                                   // without what lies on the device
  DeviceMemory buckets_memory_;                             // [sign | order | begins, count + 1 a run]
  std::size_t buckets_bytes_ = 0, order_ = 0, begins_ = 0;  // and where these begin, in words
  std::size_t a_sums_ = 0, g_sums_ = 0;
  std::size_t gram_ = 0, result_ = 0, weights_ = 0, direction_ = 0, found_ = 0, halves_ = 0;
  // The factor of K, [N, N], and b times N behind it; with form_system().
  DeviceMemory system_memory_;
  std::size_t system_bytes_ = 0;
  double* factor() const { return static_cast<double*>(system_memory_.get()); }
  double* solution() const { return factor() + plan_.samples * plan_.samples; }
};

// Of raw convolutions; samples_cudnn.cpp.
std::unique_ptr<Samples> plan_convolution_samples(CudaBackend& backend, const SamplesPlan& plan);

}  // namespace seng::cuda
