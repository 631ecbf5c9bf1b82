#include "actors/optim/generation.h"

#include <cmath>
#include <utility>

#include "actors/optim/device_kronecker.h"

namespace seng {

Generation::Generation(std::shared_ptr<const Block> block, std::uint64_t step, double lambda,
                       SampleStore store)
    : block_(std::move(block)),
      step_(step),
      lambda_(lambda),
      store_(std::make_shared<SampleStore>(std::move(store))) {}

void Generation::set_columns(std::unique_ptr<GradientColumns> columns, std::size_t workers) {
  columns_ = std::move(columns);
  workers_ = workers;
}

void Generation::set_factors(std::size_t sets, std::shared_ptr<SampleDevice> device) {
  SENG_CHECK(store_->first.precision() == Precision::kF32, "Kronecker factors are kept as floats");
  factor_sets_ = sets;
  device_ = std::move(device);
}

std::span<float> Generation::factor_a(std::size_t set) {
  const std::size_t packed = kronecker_shape(*block_).packed_a();
  return {reinterpret_cast<float*>(store_->first.bytes().data()) + set * packed, packed};
}

std::span<float> Generation::factor_g(std::size_t set) {
  const std::size_t packed = kronecker_shape(*block_).packed_g();
  return {reinterpret_cast<float*>(store_->second.bytes().data()) + set * packed, packed};
}

Error Generation::refusal(const std::string& reason) const {
  return {ErrorCode::kInvalidArgument, "block " + block_->name + ": the curvature of step " +
                                           std::to_string(step_) + " is refused: " + reason};
}

Status Generation::check() const {
  if (!std::isfinite(lambda_) || !(lambda_ > 0))
    return fail(refusal("its damping " + std::to_string(lambda_) + " is not positive"));
  const SampleSize& size = store_->size;
  for (std::size_t i = 0; i < store_->count; ++i) {
    if (!store_->first.all_finite(i * size.first, size.first) ||
        !store_->second.all_finite(i * size.second, size.second))
      return fail(refusal((factor_sets_ > 0 ? "a factor" : "sample " + std::to_string(i)) +
                          " holds a value that is not finite"));
  }
  return {};
}

Status Generation::form(Lanes& lanes) {
  const std::lock_guard lock(mutex_);
  if (!formed_) formed_ = form_now(lanes);
  return *formed_;
}

Status Generation::form_now(Lanes& lanes) {
  SENG_TRY(check());
  if (factor_sets_ > 0) return decompose(lanes);
  if (!columns_) return {};
  if (columns_->keeps_system()) {
    if (const Status formed = columns_->form_system(lambda_, workers_, lanes); !formed)
      return fail(refusal(formed.error().message));
    has_formed_ = true;
    return {};
  }
  AlignedBuffer<double> gram(store_->count * store_->count);
  columns_->gram(gram.data(), lanes);
  auto system = DampedSystem::form(std::move(gram), store_->count, lambda_, workers_);
  if (!system) return fail(refusal(system.error().message));
  system_ = std::move(*system);
  has_formed_ = true;
  return {};
}

Status Generation::decompose(Lanes& lanes) {
  if (!basis_) {
    const std::span<const float> a = factor_a(factor_sets_ - 1), g = factor_g(factor_sets_ - 1);
    auto basis =
        device_ ? form_device_basis(device_, *block_, a, g) : KroneckerBasis::form(*block_, a, g, lanes);
    if (!basis) return fail(refusal(basis.error().message));
    basis_ = std::move(*basis);
  }
  has_formed_ = true;
  return {};
}

std::size_t Generation::bytes() const {
  std::size_t bytes = 0;
  for (const SampleStore* store : {static_cast<const SampleStore*>(store_.get()), &arrived_})
    bytes += store->first.bytes().size() + store->second.bytes().size();
  if (!has_formed_) return bytes;
  if (basis_) return bytes + basis_->bytes();
  if (columns_->keeps_system()) return bytes + columns_->bytes();
  return bytes + store_->count * store_->count * sizeof(double) + columns_->bytes();
}

}  // namespace seng
