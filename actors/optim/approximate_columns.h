// Columns whose products are estimates: a sketch of the rows for R^T R and R^T g, a count sketch over samples
// for R b. Each wraps the exact columns and replaces what it is for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>

#include "actors/optim/device_columns.h"
#include "actors/optim/gradient_columns.h"
#include "actors/optim/sketch.h"

namespace seng {

// Omega R and Omega g take the place of R and g in gram() and project(), so that b solves the sketched
// least-squares problem min |Omega (U b - g)|^2 + lambda |b|^2; correct() stays exact. E[Omega^T Omega] = I.
//   explicit   Omega is q x count
//   factored   Omega is Omega_m (x) Omega_n over the rows of G and A, about q of the m (n+1) coordinates in
//   all
struct SketchOptions {
  SketchKind kind = SketchKind::kNone;
  std::size_t rows = 0;  // q
};

// R b = sum over i, k of b_i g_k a_k^T of the factored forms (an explicit block's is exact: it reads R once
// anyway).
//   count sketch  the pairs (i, k) are added into `buckets` pairs of rows with random signs, sqrt|b_i| on
//   both sides:
//                 the cross terms have mean 0, so that the mean over seeds is the exact product
//   authors       one bucket per k, no signs, sqrt|b_i| on both sides, as in the authors' released code: its
//   cross terms
//                 do not cancel, and b_i's own sign is lost. For comparison.
enum class ProductKind { kExact, kCountSketch, kAuthors };
struct ProductOptions {
  ProductKind kind = ProductKind::kExact;
  std::size_t buckets = 0;  // r
};

// What of a block's products is estimated.
struct Approximations {
  SketchOptions sketch;
  ProductOptions product;
};

// Columns that leave to the exact ones what they do not estimate.
class ApproximateColumns : public GradientColumns {
 public:
  explicit ApproximateColumns(std::unique_ptr<GradientColumns> exact) : exact_(std::move(exact)) {}
  void gram(double* gram, Lanes& lanes) const override { exact_->gram(gram, lanes); }
  void project(std::span<const float> g, double* c, Lanes& lanes) const override {
    exact_->project(g, c, lanes);
  }
  double correct(std::span<const float> g, const double* b, double inverse_lambda, std::span<float> d,
                 Lanes& lanes) const override {
    return exact_->correct(g, b, inverse_lambda, d, lanes);
  }
  std::size_t bytes() const override { return exact_->bytes(); }

 protected:
  const GradientColumns& exact() const { return *exact_; }

 private:
  std::unique_ptr<GradientColumns> exact_;
};

// What random choices are keyed by.
struct SketchKey {
  std::uint64_t seed = 0, refresh = 0;
  std::uint32_t block = 0;
};

// What is estimated, and of which refresh. `block` and `store` are borrowed, as by make_columns().
struct ApproximatedSamples {
  const Block& block;
  CurvatureForm form;
  const SampleStore& store;
  SketchKey key;
  std::shared_ptr<SampleDevice> device;  // multiplies sketched samples too; none: the CPU
};

std::unique_ptr<GradientColumns> sketched_columns(std::unique_ptr<GradientColumns> exact,
                                                  const ApproximatedSamples& of,
                                                  const SketchOptions& options);
std::unique_ptr<GradientColumns> bucketed_columns(std::unique_ptr<GradientColumns> exact,
                                                  const ApproximatedSamples& of,
                                                  const ProductOptions& options);
// Whether these samples' R b is estimated, and by which draw.
bool is_bucketed(const ApproximatedSamples& of, const ProductOptions& options);
SampleBuckets draw_buckets(const ApproximatedSamples& of, const ProductOptions& options);
// Of one sample's sketch, which is kept beside the sample; nothing where there is none.
SampleSize sketched_size(const Block& block, const CurvatureForm& form, const SketchOptions& options);

}  // namespace seng
