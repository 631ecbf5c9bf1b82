// Buffers of one piece, used again. ZeroMQ's thread gives them back when their bytes have left.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <mutex>
#include <vector>

#include "protocol/messages/state.h"

namespace seng {

class PiecePool;

// A buffer that returns to its pool, and counts down what its receiver has not taken yet, when it goes.
// Destructible on any thread.
class PieceBuffer {
 public:
  PieceBuffer(std::shared_ptr<PiecePool> pool, std::shared_ptr<std::atomic<std::size_t>> in_flight);
  ~PieceBuffer();
  PieceBuffer(const PieceBuffer&) = delete;
  PieceBuffer& operator=(const PieceBuffer&) = delete;

  std::byte* data() { return bytes_.get(); }  // kBlobPieceBytes of them

 private:
  std::shared_ptr<PiecePool> pool_;
  std::shared_ptr<std::atomic<std::size_t>> in_flight_;
  std::unique_ptr<std::byte[]> bytes_;
};

// Thread-safe.
class PiecePool {
 public:
  // `kept`: so many free buffers stay allocated between uses.
  explicit PiecePool(std::size_t kept) : kept_(kept) {}

  std::unique_ptr<std::byte[]> take() {
    {
      std::lock_guard lock(mutex_);
      if (!free_.empty()) {
        auto bytes = std::move(free_.back());
        free_.pop_back();
        return bytes;
      }
    }
    return std::make_unique_for_overwrite<std::byte[]>(kBlobPieceBytes);
  }
  void give_back(std::unique_ptr<std::byte[]> bytes) {
    std::lock_guard lock(mutex_);
    if (free_.size() < kept_) free_.push_back(std::move(bytes));
  }
  // Frees what is not in use.
  void trim() {
    std::lock_guard lock(mutex_);
    free_.clear();
  }

 private:
  const std::size_t kept_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<std::byte[]>> free_;
};

inline PieceBuffer::PieceBuffer(std::shared_ptr<PiecePool> pool,
                                std::shared_ptr<std::atomic<std::size_t>> in_flight)
    : pool_(std::move(pool)), in_flight_(std::move(in_flight)), bytes_(pool_->take()) {
  ++*in_flight_;
}
inline PieceBuffer::~PieceBuffer() {
  pool_->give_back(std::move(bytes_));
  --*in_flight_;
}

}  // namespace seng
