#include "actors/optim/device_columns.h"

#include <algorithm>
#include <atomic>

#include "actors/optim/damped_system.h"
#include "actors/optim/update.h"

namespace seng {
namespace {

// `of.factors` 1, and the bias' ones are not stored: a linear layer's implicit form.
bool lacks_ones(const SamplesPlan& of, const SampleStore& store) {
  return of.factors > 0 && !of.convolution && store.size.first < of.factors * of.width();
}

class DeviceColumns final : public GradientColumns {
 public:
  DeviceColumns(std::shared_ptr<SampleDevice> device, const SamplesPlan& plan, const SampleStore& store,
                std::optional<SampleBuckets> buckets)
      : device_(std::move(device)), plan_(plan), store_(store), buckets_(std::move(buckets)) {}
  ~DeviceColumns() override {
    const std::lock_guard lock(device_->mutex);
    samples_.reset();
  }

  void gram(double* gram, Lanes&) const override {
    const std::lock_guard lock(device_->mutex);
    there().gram(gram);
  }
  void project(std::span<const float> g, double* c, Lanes&) const override {
    const std::lock_guard lock(device_->mutex);
    there().project(g.data(), c);
  }
  double correct(std::span<const float> g, const double* b, double inverse_lambda, std::span<float> d,
                 Lanes& lanes) const override {
    {
      const std::lock_guard lock(device_->mutex);
      there().correct(g.data(), b, inverse_lambda, d.data());
    }
    return inner_product(g, d, lanes);
  }

  bool keeps_system() const override { return true; }
  Status form_system(double lambda, std::size_t workers, Lanes&) const override {
    SENG_CHECK(workers > 0 && plan_.samples % workers == 0, "samples do not share out among the workers");
    const std::lock_guard lock(device_->mutex);
    const SampleSystem system = there().form_system(lambda, workers);
    held_ = samples_->bytes();
    if (system.overflow) return fail(overflow_of(system.overflow->i, system.overflow->j));
    if (!system.formed) return fail(not_positive_definite(lambda));
    return {};
  }
  double precondition(std::span<const float> g, double inverse_lambda, std::span<float> d,
                      Lanes& lanes) const override {
    {
      const std::lock_guard lock(device_->mutex);
      there().precondition(g.data(), inverse_lambda, d.data());
    }
    return inner_product(g, d, lanes);
  }
  void solve(std::span<const float> g) const override {
    const std::lock_guard lock(device_->mutex);
    there().solve(g.data());
  }
  double correct_by(std::span<const float> g, const GradientColumns& solved, double inverse_lambda,
                    std::span<float> d, Lanes& lanes) const override {
    const auto& other = dynamic_cast<const DeviceColumns&>(solved);
    SENG_CHECK(other.device_ == device_, "a system of another device");
    {
      const std::lock_guard lock(device_->mutex);
      there().correct_by(g.data(), *other.samples_, inverse_lambda, d.data());
      held_ = samples_->bytes();
    }
    return inner_product(g, d, lanes);
  }

  void precondition_there(const float* g, double inverse_lambda, float* d) const override {
    const std::lock_guard lock(device_->mutex);
    there().precondition(g, inverse_lambda, d, Memory::kDevice);
  }
  void solve_there(const float* g) const override {
    const std::lock_guard lock(device_->mutex);
    there().solve(g, Memory::kDevice);
  }
  void correct_by_there(const float* g, const GradientColumns& solved, double inverse_lambda,
                        float* d) const override {
    const auto& other = dynamic_cast<const DeviceColumns&>(solved);
    SENG_CHECK(other.device_ == device_, "a system of another device");
    const std::lock_guard lock(device_->mutex);
    there().correct_by(g, *other.samples_, inverse_lambda, d, Memory::kDevice);
    held_ = samples_->bytes();
  }

  std::size_t bytes() const override { return held_; }

 private:
  Samples& there() const {
    if (samples_) return *samples_;
    samples_ = device_->backend->plan_samples(plan_);
    if (buckets_) samples_->set_buckets(*buckets_);
    const bool with_the_ones = lacks_ones(plan_, store_);
    if (store_.first.precision() == Precision::kBf16 && !with_the_ones) {
      samples_->put_bf16(store_.first.bf16(), store_.second.bf16());
      return *samples_;
    }
    AlignedBuffer<float> first, second;
    const float* inputs = with_the_ones ? with_ones(first) : floats_of(store_.first, first);
    samples_->put(inputs, floats_of(store_.second, second));
    return *samples_;
  }

  // Where they lie, or widened into `room`.
  static const float* floats_of(const StoredValues& values, AlignedBuffer<float>& room) {
    if (values.precision() == Precision::kF32) return values.floats(0, values.size());
    values.read(0, room.at_least(values.size()), values.size());
    return room.data();
  }
  const float* with_ones(AlignedBuffer<float>& room) const {
    float* out = room.at_least(plan_.rows() * plan_.width());
    for (std::size_t row = 0; row < plan_.rows(); ++row, out += plan_.width()) {
      store_.first.read(row * plan_.n, out, plan_.n);
      out[plan_.n] = 1;
    }
    return room.data();
  }

  const std::shared_ptr<SampleDevice> device_;
  const SamplesPlan plan_;
  const SampleStore& store_;
  const std::optional<SampleBuckets> buckets_;
  mutable std::unique_ptr<Samples> samples_;   // guarded by the device's mutex
  mutable std::atomic<std::size_t> held_ = 0;  // of the device
};

}  // namespace

std::unique_ptr<GradientColumns> device_columns(std::shared_ptr<SampleDevice> device, const Block& block,
                                                const CurvatureForm& form, const SampleStore& store,
                                                std::optional<SampleBuckets> buckets) {
  SamplesPlan plan{.samples = store.count,
                   .parameters = block.count,
                   .m = std::size_t(block.m),
                   .n = std::size_t(block.n),
                   .bias = block.bias};
  if (form.representation == Representation::kLowRank) {
    plan.factors = std::size_t(form.rank);
  } else if (form.representation == Representation::kImplicit) {
    plan.factors = std::size_t(block.positions);
    if (block.kind == BlockKind::kConvolution) plan.convolution = block.conv;
  } else {
    SENG_CHECK(form.representation == Representation::kExplicit, "a form without samples' gradients");
  }
  return std::make_unique<DeviceColumns>(std::move(device), plan, store, std::move(buckets));
}

std::unique_ptr<GradientColumns> device_columns(std::shared_ptr<SampleDevice> device, const SamplesPlan& plan,
                                                const SampleStore& store) {
  return std::make_unique<DeviceColumns>(std::move(device), plan, store, std::nullopt);
}

}  // namespace seng
