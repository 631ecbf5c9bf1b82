// The gradients of a block's N curvature samples as a matrix R = [u_1 ... u_N] (block.count x N, not scaled),
// known by what is done with it. U = R / sqrt(N).
//
// This is where other forms of R belong: factors of rank p; a sketch of the rows replaces
// gram() and project() by those of Omega R; an approximate product replaces correct().
#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "actors/engine/block.h"
#include "actors/engine/lanes.h"
#include "actors/engine/linalg.h"
#include "actors/optim/representation.h"
#include "actors/optim/stored_values.h"
#include "protocol/base/error.h"

namespace seng {

class GradientColumns {
 public:
  virtual ~GradientColumns() = default;

  // Lower triangle of gram (N x N, row-major) = R^T R.
  virtual void gram(double* gram, Lanes& lanes) const = 0;

  // c (N) = R^T g.
  virtual void project(std::span<const float> g, double* c, Lanes& lanes) const = 0;

  // d = (g - R b) * inverse_lambda; returns g^T d.
  virtual double correct(std::span<const float> g, const double* b, double inverse_lambda, std::span<float> d,
                         Lanes& lanes) const = 0;

  // Columns that a device keeps form the damped system there and keep it (damped_system.h). For these what
  // follows takes the place of gram(), DampedSystem, project() and correct(): nothing between g and d comes
  // to the host.
  virtual bool keeps_system() const { return false; }
  // Refused: as DampedSystem::form().
  virtual Status form_system(double lambda, std::size_t workers, Lanes& lanes) const;
  // d = (g - R K^-1 R^T g / N) * inverse_lambda; returns g^T d.
  virtual double precondition(std::span<const float> g, double inverse_lambda, std::span<float> d,
                              Lanes& lanes) const;
  // In two halves, for who puts a sketch of g in its place: b = K^-1 R^T g / N, kept with the system, and
  // d = (g - R b) * inverse_lambda by the b of `solved`, columns of the same device.
  virtual void solve(std::span<const float> g) const;
  virtual double correct_by(std::span<const float> g, const GradientColumns& solved, double inverse_lambda,
                            std::span<float> d, Lanes& lanes) const;
  // The three of them where g and d are memory of that device. Nobody waits: SampleDevice::wait() does.
  virtual void precondition_there(const float* g, double inverse_lambda, float* d) const;
  virtual void solve_there(const float* g) const;
  virtual void correct_by_there(const float* g, const GradientColumns& solved, double inverse_lambda,
                                float* d) const;

  // Held beside the samples, now, by the device too.
  virtual std::size_t bytes() const { return 0; }
};

// Not for kScale. `block` and `store` are borrowed: they must outlive the result, at the same address.
std::unique_ptr<GradientColumns> make_columns(const Block& block, const CurvatureForm& form,
                                              const SampleStore& store);

// Samples as `rank` pairs of rows, a_k (n, with a bias n+1) in `first` and g_k (m) in `second`: u_i = sum
// over k of vec(g_k a_k^T), the bias' part (the last entries of a_k) behind the weight's.
struct FactorShape {
  std::size_t m = 0, n = 0, rank = 1;
  bool bias = false;
};

// The kinds, each in the file of its name.
std::unique_ptr<GradientColumns> explicit_columns(const Block& block, const SampleStore& store);
std::unique_ptr<GradientColumns> implicit_linear_columns(const Block& block, const SampleStore& store);
std::unique_ptr<GradientColumns> implicit_convolution_columns(const Block& block, const SampleStore& store);
std::unique_ptr<GradientColumns> low_rank_columns(const FactorShape& shape, const SampleStore& store);

// d = (g - d) * inverse_lambda for a run of a block; returns its part of g^T d.
double finish_direction(const float* g, double inverse_lambda, float* d, std::size_t count);

}  // namespace seng
