// Memory for vectors that several threads add up and put together beside the passes of a backend: what an
// exchange does with sums and directions, on the host or where a GPU's actors keep them.
#pragma once

#include <cstddef>
#include <memory>

#include "actors/engine/memory.h"

namespace seng {

// Thread-safe. Pointers are to this memory, or to other memory of the same place. A device's calls are queued
// and take effect in the order in which they are made, whoever makes them; beside them go those of its
// backends: what passes from one to the other is waited for, here or there. Throws VendorError.
class VectorMemory {
 public:
  virtual ~VectorMemory() = default;
  virtual Memory where() const = 0;

  // `count` floats, not initialised, aligned to 64 bytes at least. Requires count > 0.
  virtual float* allocate(std::size_t count) = 0;
  // Waits for what uses it.
  virtual void free(float* memory) noexcept = 0;

  virtual void copy(const float* from, float* to, std::size_t count) = 0;
  virtual void clear(float* memory, std::size_t count) = 0;
  // Each value is one addition; sum may be left or right.
  virtual void add(const float* left, const float* right, float* sum, std::size_t count) = 0;
  // Until all that has been asked for is done.
  virtual void wait() = 0;
};

// The process's own memory, where every call is done when it returns.
std::shared_ptr<VectorMemory> host_vectors();

}  // namespace seng
