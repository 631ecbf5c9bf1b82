// Scratch memory of one thread, kept between calls so that an ordinary step allocates nothing.
#pragma once

#include <array>
#include <cstddef>

#include "actors/engine/linalg.h"

namespace seng {

class Workspace {
 public:
  enum Slot { kUnfolded, kProduct, kScaled, kTile, kWidened, kWidenedToo, kSlots };

  // The calling thread's own. A slot's memory stays valid until the same slot is asked for again on this
  // thread.
  static Workspace& of_this_thread();

  float* floats(Slot slot, std::size_t count) { return slots_[slot].at_least(count); }
  const float* ones(std::size_t count);

 private:
  std::array<AlignedBuffer<float>, kSlots> slots_;
  AlignedBuffer<float> ones_;
};

}  // namespace seng
