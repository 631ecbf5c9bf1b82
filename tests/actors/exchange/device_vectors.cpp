#include "tests/actors/exchange/device_vectors.h"

#include <limits>
#include <mutex>

#include "actors/engine/backend.h"
#include "actors/engine/cuda_module.h"

namespace seng::testing {
namespace {

class BackendsVectors final : public DeviceVectors {
 public:
  explicit BackendsVectors(std::unique_ptr<Backend> backend) : backend_(std::move(backend)) {
    backend_->enter();
    memory_ = backend_->make_vector_memory();
    room_ = static_cast<float*>(backend_->allocate(kFloats * sizeof(float)));
    backend_->wait();
  }

  const std::shared_ptr<VectorMemory>& memory() const override { return memory_; }

  std::span<const float> put(std::span<const float> values) override {
    const std::lock_guard lock(mutex_);
    SENG_CHECK(used_ + values.size() <= kFloats, "more is handed in than there is room for");
    const std::span<float> there{room_ + used_, values.size()};
    used_ += values.size();
    upload(values, there.data());
    return there;
  }

  std::vector<float> get(std::span<const float> there) override {
    const std::lock_guard lock(mutex_);
    backend_->enter();
    const float* const here = backend_->host_view(there.data(), there.size(), 0);
    return {here, here + there.size()};
  }

  void forget() override {
    memory_->wait();
    const std::lock_guard lock(mutex_);
    upload(std::vector<float>(used_, std::numeric_limits<float>::quiet_NaN()), room_);
    used_ = 0;
  }

 private:
  void upload(std::span<const float> values, float* there) {
    backend_->enter();
    backend_->upload(values.data(), there, values.size_bytes());
    backend_->wait();
  }

  static constexpr std::size_t kFloats = std::size_t{1} << 20;
  std::mutex mutex_;
  const std::unique_ptr<Backend> backend_;
  std::shared_ptr<VectorMemory> memory_;
  float* room_ = nullptr;
  std::size_t used_ = 0;
};

}  // namespace

std::shared_ptr<DeviceVectors> make_device_vectors(const std::string& library) {
  auto backend = cuda::make_backend_from(library, Arithmetic::kF32, nullptr);
  SENG_CHECK(backend.has_value(), backend.error().message);
  return std::make_shared<BackendsVectors>(*std::move(backend));
}

}  // namespace seng::testing
