// The largest block that this thread has asked operator new for while a watch lives.
#pragma once

#include <cstddef>

namespace seng {

class AllocationWatch {
 public:
  AllocationWatch();
  ~AllocationWatch();
  AllocationWatch(const AllocationWatch&) = delete;
  AllocationWatch& operator=(const AllocationWatch&) = delete;
  std::size_t largest() const;
};

}  // namespace seng
