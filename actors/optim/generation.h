// One refresh of one block's curvature: its samples, and what is formed of them. Whole in itself: others may
// form or read it when the curvature that it came from has dropped it.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>

#include "actors/engine/block.h"
#include "actors/engine/lanes.h"
#include "actors/optim/damped_system.h"
#include "actors/optim/device_columns.h"
#include "actors/optim/gradient_columns.h"
#include "actors/optim/kronecker.h"
#include "protocol/base/error.h"

namespace seng {

class Generation {
 public:
  // `block` as the columns need it; `store` has room for the samples and is not filled yet.
  Generation(std::shared_ptr<const Block> block, std::uint64_t step, double lambda, SampleStore store);
  Generation(const Generation&) = delete;
  Generation& operator=(const Generation&) = delete;

  std::uint64_t step() const { return step_; }
  double lambda() const { return lambda_; }
  const Block& block() const { return *block_; }
  SampleStore& store() { return *store_; }
  const SampleStore& store() const { return *store_; }
  // For who keeps the samples alone: what is formed of them is as large again, or larger.
  std::shared_ptr<const SampleStore> shared_store() const { return store_; }

  // Once, at the beginning: how R is multiplied (they borrow block() and store()); none for kScale.
  void set_columns(std::unique_ptr<GradientColumns> columns, std::size_t workers);
  // Or that it is Kronecker factors: so many sets of A and G, packed, of floats; the last one is decomposed,
  // on the device, or without one on the lanes.
  void set_factors(std::size_t sets, std::shared_ptr<SampleDevice> device = {});
  // Of factors: what came for them, until it is folded into the first set; then empty.
  SampleStore& arrived() { return arrived_; }
  std::span<float> factor_a(std::size_t set);
  std::span<float> factor_g(std::size_t set);
  // The last set is that of `other`, and so is what was formed of it.
  void take_basis(const Generation& other) { basis_ = other.basis_; }

  // What can be said without forming anything: a damping that is positive, values that are finite.
  Status check() const;
  // Checks, and forms the Gram matrix and its factor: once, whoever comes first, on any thread; a refusal
  // stays. Whoever comes second waits. Nobody may write to store() from here on.
  Status form(Lanes& lanes);

  // After form() without an error, and not for kScale.
  const GradientColumns& columns() const { return *columns_; }
  const DampedSystem& system() const { return *system_; }  // unless columns().keeps_system()
  const KroneckerBasis& basis() const { return *basis_; }
  std::size_t bytes() const;  // of samples, and of what is formed

  Error refusal(const std::string& reason) const;

 private:
  Status form_now(Lanes& lanes);
  Status decompose(Lanes& lanes);

  const std::shared_ptr<const Block> block_;
  const std::uint64_t step_;
  const double lambda_;
  const std::shared_ptr<SampleStore> store_;
  std::unique_ptr<GradientColumns> columns_;
  std::size_t workers_ = 1;
  std::size_t factor_sets_ = 0;           // 0: samples
  std::shared_ptr<SampleDevice> device_;  // of factors
  SampleStore arrived_;
  std::shared_ptr<const KroneckerBasis> basis_;

  std::mutex mutex_;
  std::optional<Status> formed_;  // guarded by mutex_
  std::optional<DampedSystem> system_;
  std::atomic<bool> has_formed_{false};
};

}  // namespace seng
