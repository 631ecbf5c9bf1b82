#include "actors/optim/device_kronecker.h"

#include "actors/optim/update.h"

namespace seng {
namespace {

class DeviceBasis final : public KroneckerBasis {
 public:
  DeviceBasis(std::shared_ptr<SampleDevice> device, std::unique_ptr<KroneckerInverse> inverse)
      : device_(std::move(device)), inverse_(std::move(inverse)) {}
  ~DeviceBasis() override {
    const std::lock_guard lock(device_->mutex);
    inverse_.reset();
  }

  double precondition(const Block&, std::span<const float> g, double lambda, std::span<float> d,
                      Lanes& lanes) const override {
    {
      const std::lock_guard lock(device_->mutex);
      inverse_->precondition(g.data(), lambda, d.data());
    }
    return inner_product(g, d, lanes);
  }
  void precondition_there(const float* g, double lambda, float* d) const override {
    const std::lock_guard lock(device_->mutex);
    inverse_->precondition(g, lambda, d, Memory::kDevice);
  }
  double curvature_along(const Block&, std::span<const float> v, Lanes&) const override {
    const std::lock_guard lock(device_->mutex);
    return inverse_->curvature_along(v.data());
  }
  std::size_t bytes() const override { return inverse_->bytes(); }

 private:
  const std::shared_ptr<SampleDevice> device_;
  std::unique_ptr<KroneckerInverse> inverse_;  // used under the device's mutex
};

}  // namespace

KroneckerPlan kronecker_plan(const Block& block) {
  const KroneckerShape shape = kronecker_shape(block);
  KroneckerPlan plan{
      .m = shape.m, .n = shape.n, .positions = std::size_t(block.positions), .bias = block.bias};
  if (block.kind == BlockKind::kConvolution) plan.convolution = block.conv;
  return plan;
}

std::vector<float> device_kronecker_sums(SampleDevice& device, const Block& block,
                                         const SampleFactors& factors, int samples) {
  const KroneckerPlan plan = kronecker_plan(block);
  std::vector<float> packed(plan.packed_a() + plan.packed_g());
  const std::lock_guard lock(device.mutex);
  device.backend->plan_kronecker_sums(plan)->sum(std::size_t(samples), factors.activations, factors.gradients,
                                                 packed.data(), packed.data() + plan.packed_a());
  return packed;
}

void device_fold_factors(SampleDevice& device, const Block& block, const SampleStore& arrived,
                         const KroneckerRefresh& refresh, std::span<float> a, std::span<float> g) {
  KroneckerArrivals of{.sums = refresh.sums, .count = arrived.count, .samples = refresh.samples};
  of.first = arrived.first.floats(0, arrived.first.size());
  of.second = arrived.second.floats(0, arrived.second.size());
  KroneckerMeans before;
  if (!refresh.old_a.empty()) before = {refresh.retained, refresh.old_a.data(), refresh.old_g.data()};
  const std::lock_guard lock(device.mutex);
  device.backend->plan_kronecker_sums(kronecker_plan(block))->fold(of, before, a.data(), g.data());
}

Result<std::shared_ptr<const KroneckerBasis>> form_device_basis(std::shared_ptr<SampleDevice> device,
                                                                const Block& block, std::span<const float> a,
                                                                std::span<const float> g) {
  std::unique_lock lock(device->mutex);
  auto inverse = device->backend->plan_kronecker_inverse(kronecker_plan(block));
  if (!inverse->decompose(a.data(), g.data()))
    return fail(ErrorCode::kInvalidArgument, kNoConvergence);  // `inverse` goes first, under the lock
  lock.unlock();
  return std::shared_ptr<const KroneckerBasis>(
      std::make_shared<DeviceBasis>(std::move(device), std::move(inverse)));
}

}  // namespace seng
