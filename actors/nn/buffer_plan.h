// Where buffers of known lifetimes lie in one arena, so that those alive at the same time do not overlap.
#pragma once

#include <cstddef>
#include <vector>

namespace seng {

class BufferPlan {
 public:
  // A buffer alive from `time` on; use() extends its life, both ends included. Returns its number.
  int add(std::size_t bytes, int time);
  void use(int buffer, int time);

  // Chooses all offsets, the biggest first, each at the lowest free place; returns the arena's size. Once.
  std::size_t place();
  std::size_t offset(int buffer) const { return buffers_[buffer].offset; }

 private:
  struct Buffer {
    std::size_t bytes = 0, offset = 0;
    int first = 0, last = 0;
  };
  std::vector<Buffer> buffers_;
};

}  // namespace seng
