#include "actors/exchange/float_pool.h"

namespace seng {

PooledFloats& PooledFloats::operator=(PooledFloats&& other) noexcept {
  if (this != &other) {
    release();
    pool_ = std::move(other.pool_);
    data_ = std::exchange(other.data_, nullptr);
    count_ = other.count_;
  }
  return *this;
}

void PooledFloats::release() {
  if (data_ == nullptr) return;
  pool_->give_back(std::exchange(data_, nullptr), count_);
  pool_.reset();
}

std::shared_ptr<const void> PooledFloats::share() && {
  return std::make_shared<PooledFloats>(std::move(*this));
}

FloatPool::~FloatPool() {
  trim();
}

PooledFloats FloatPool::take(std::size_t count) {
  {
    std::lock_guard lock(mutex_);
    auto& free = free_[count];
    if (!free.empty()) {
      float* data = free.back();
      free.pop_back();
      return PooledFloats(shared_from_this(), data, count);
    }
    ++allocations_;
    bytes_ += count * sizeof(float);
  }
  return PooledFloats(shared_from_this(), memory_->allocate(count), count);
}

void FloatPool::give_back(float* data, std::size_t count) {
  std::lock_guard lock(mutex_);
  free_[count].push_back(data);
}

void FloatPool::trim() {
  std::lock_guard lock(mutex_);
  for (auto& [count, buffers] : free_) {
    for (float* data : buffers) memory_->free(data);
    bytes_ -= count * sizeof(float) * buffers.size();
    buffers.clear();
  }
}

uint64_t FloatPool::allocations() const {
  std::lock_guard lock(mutex_);
  return allocations_;
}

uint64_t FloatPool::bytes() const {
  std::lock_guard lock(mutex_);
  return bytes_;
}

}  // namespace seng
