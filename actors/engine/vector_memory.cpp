#include "actors/engine/vector_memory.h"

#include <algorithm>
#include <new>

namespace seng {
namespace {

constexpr std::align_val_t kVectorAlignment{64};

class HostVectorMemory final : public VectorMemory {
 public:
  Memory where() const override { return Memory::kHost; }
  float* allocate(std::size_t count) override {
    return static_cast<float*>(::operator new(count * sizeof(float), kVectorAlignment));
  }
  void free(float* memory) noexcept override { ::operator delete(memory, kVectorAlignment); }
  void copy(const float* from, float* to, std::size_t count) override { std::copy_n(from, count, to); }
  void clear(float* memory, std::size_t count) override { std::fill_n(memory, count, 0.0f); }
  void add(const float* left, const float* right, float* sum, std::size_t count) override {
    for (std::size_t i = 0; i < count; ++i) sum[i] = left[i] + right[i];
  }
  void wait() override {}
};

}  // namespace

std::shared_ptr<VectorMemory> host_vectors() {
  static const auto memory = std::make_shared<HostVectorMemory>();
  return memory;
}

}  // namespace seng
