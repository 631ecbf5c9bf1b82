#include "actors/nn/buffer_plan.h"

#include <algorithm>
#include <numeric>

namespace seng {

int BufferPlan::add(std::size_t bytes, int time) {
  constexpr std::size_t kCacheLine = 64;
  buffers_.push_back({(bytes + kCacheLine - 1) / kCacheLine * kCacheLine, 0, time, time});
  return static_cast<int>(buffers_.size()) - 1;
}

void BufferPlan::use(int buffer, int time) {
  buffers_[buffer].first = std::min(buffers_[buffer].first, time);
  buffers_[buffer].last = std::max(buffers_[buffer].last, time);
}

std::size_t BufferPlan::place() {
  std::vector<int> order(buffers_.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int a, int b) { return buffers_[a].bytes > buffers_[b].bytes; });
  std::size_t arena = 0;
  std::vector<const Buffer*> placed;  // by offset
  for (const int number : order) {
    Buffer& buffer = buffers_[number];
    for (const Buffer* other : placed) {
      const bool together = other->first <= buffer.last && buffer.first <= other->last;
      if (!together || other->offset + other->bytes <= buffer.offset) continue;
      if (buffer.offset + buffer.bytes <= other->offset) break;
      buffer.offset = other->offset + other->bytes;
    }
    arena = std::max(arena, buffer.offset + buffer.bytes);
    placed.insert(std::upper_bound(placed.begin(), placed.end(), &buffer,
                                   [](const Buffer* a, const Buffer* b) { return a->offset < b->offset; }),
                  &buffer);
  }
  return arena;
}

}  // namespace seng
