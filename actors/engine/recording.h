// What lets a device go on without its host: passes that are repeated, what they read of the host, and what
// they leave for it.
#pragma once

#include <cstddef>
#include <string>

namespace seng {

// Calls of a backend that are repeated on the same memory (Backend::record). On the CPU, and where a GPU
// cannot do otherwise, run() makes them again; else the GPU has them as one piece of work and the host makes
// none.
class Recording {
 public:
  virtual ~Recording() = default;
  // Queues the calls, or makes them; on what their memory holds by then.
  virtual void run() = 0;
  // Empty, or why the calls are made each time although the device could repeat them by itself: the library's
  // words for what it refused, some times over. Known from the fourth run on.
  virtual const std::string& shortfall() const = 0;
};

// Brings what a pass reads of the host into memory of a fixed place, while the device may still be at the
// pass before.
class Feed {
 public:
  virtual ~Feed() = default;
  // The first `bytes` bytes; what is behind them stays. The host may change its own when this returns. Comes
  // after all calls that are to read what was taken before have been made, whether they are done or not.
  virtual void put(const void* host, std::size_t bytes) = 0;
  // The calls that are made from now on find in the memory what was put last.
  virtual void take() = 0;
};

// Brings what a pass makes on its way, and then writes over, to the host, which waits for all of it once.
class Drain {
 public:
  virtual ~Drain() = default;
  // What was taken before has been used.
  virtual void begin() = 0;
  // Queues a copy. Its place on the host, where it is once Backend::wait() has returned.
  virtual float* take(const float* memory, std::size_t count) = 0;
};

}  // namespace seng
