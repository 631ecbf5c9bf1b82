#include "actors/optim/generation.h"

#include <cmath>
#include <utility>

namespace seng {

Generation::Generation(std::shared_ptr<const Block> block, std::uint64_t step, double lambda,
                       std::size_t count, const SampleSize& size, Precision stored)
    : block_(std::move(block)), step_(step), lambda_(lambda) {
  store_->count = count;
  store_->size = size;
  store_->first = StoredValues(stored, count * size.first);
  store_->second = StoredValues(stored, count * size.second);
}

void Generation::set_columns(std::unique_ptr<GradientColumns> columns, std::size_t workers) {
  columns_ = std::move(columns);
  workers_ = workers;
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
      return fail(refusal("sample " + std::to_string(i) + " holds a value that is not finite"));
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
  if (!columns_) return {};
  AlignedBuffer<double> gram(store_->count * store_->count);
  columns_->gram(gram.data(), lanes);
  auto system = DampedSystem::form(std::move(gram), store_->count, lambda_, workers_);
  if (!system) return fail(refusal(system.error().message));
  system_ = std::move(*system);
  has_system_ = true;
  return {};
}

std::size_t Generation::bytes() const {
  const std::size_t samples = store_->first.bytes().size() + store_->second.bytes().size();
  if (!has_system_) return samples;
  return samples + store_->count * store_->count * sizeof(double) + columns_->bytes();
}

}  // namespace seng
