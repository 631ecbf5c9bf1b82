// The memory of the emulated CUDA beside (libseng_cuda.so), where the process has it open.
#pragma once

#include <cstddef>

namespace emulated_nccl {

struct OtherDevice {
  int (*owns)(const void* memory, std::size_t bytes) = nullptr;
  void (*move)(void* to, const void* from, std::size_t bytes) = nullptr;  // memmove(); the memory is closed
  bool has(const void* memory, std::size_t bytes) const {
    return owns != nullptr && owns(memory, bytes) != 0;
  }
};
// Looked for until it is there.
OtherDevice other_device();

}  // namespace emulated_nccl
