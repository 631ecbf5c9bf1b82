// Float buffers that are used again: a step needs the same sizes as the step before.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "actors/engine/vector_memory.h"

namespace seng {

class FloatPool;

// A buffer of a pool; goes back when destroyed, from any thread, also after the pool's other users are gone.
class PooledFloats {
 public:
  PooledFloats() = default;
  PooledFloats(PooledFloats&& other) noexcept
      : pool_(std::move(other.pool_)), data_(std::exchange(other.data_, nullptr)), count_(other.count_) {}
  PooledFloats& operator=(PooledFloats&& other) noexcept;
  ~PooledFloats() { release(); }

  explicit operator bool() const { return data_ != nullptr; }
  float* data() const { return data_; }
  std::size_t count() const { return count_; }

  // The same buffer with shared ownership, for frames; this one is empty afterwards.
  std::shared_ptr<const void> share() &&;

 private:
  friend class FloatPool;
  PooledFloats(std::shared_ptr<FloatPool> pool, float* data, std::size_t count)
      : pool_(std::move(pool)), data_(data), count_(count) {}
  void release();

  std::shared_ptr<FloatPool> pool_;
  float* data_ = nullptr;
  std::size_t count_ = 0;
};

// Thread-safe. Keeps what it once allocated, by size, until trim().
class FloatPool : public std::enable_shared_from_this<FloatPool> {
 public:
  static std::shared_ptr<FloatPool> create(std::shared_ptr<VectorMemory> memory = host_vectors()) {
    return std::shared_ptr<FloatPool>(new FloatPool(std::move(memory)));
  }
  ~FloatPool();
  FloatPool(const FloatPool&) = delete;
  FloatPool& operator=(const FloatPool&) = delete;

  // `count` floats, not initialised, aligned to 64 bytes. Requires count > 0.
  PooledFloats take(std::size_t count);
  // Frees what is not in use.
  void trim();
  // Whose buffers they are.
  VectorMemory& memory() const { return *memory_; }

  std::uint64_t allocations() const;  // from the system, ever
  std::uint64_t bytes() const;        // held, in use or not

 private:
  friend class PooledFloats;
  explicit FloatPool(std::shared_ptr<VectorMemory> memory) : memory_(std::move(memory)) {}
  void give_back(float* data, std::size_t count);

  const std::shared_ptr<VectorMemory> memory_;
  mutable std::mutex mutex_;
  // Guarded by mutex_.
  std::map<std::size_t, std::vector<float*>> free_;  // by count
  std::uint64_t allocations_ = 0, bytes_ = 0;
};

// The summary is the host's, wherever the vectors of other blocks are.
struct StepPools {
  std::shared_ptr<FloatPool> host;
  std::shared_ptr<FloatPool> blocks;  // `host` itself, or a device's
  const std::shared_ptr<FloatPool>& of(bool summary) const { return summary ? host : blocks; }
};

}  // namespace seng
