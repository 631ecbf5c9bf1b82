// The emulated device: streams and memory.
#pragma once

#include <cstddef>
#include <functional>
#include <string>

#include "tests/support/emulated_nccl/cuda_runtime_api.h"

namespace emulated_nccl {

// Queues work that says whether it is done; it is asked whenever somebody looks at the stream.
void queue(cudaStream_t stream, std::function<bool()> work);

// The range lies in memory of the device: taken here, or of the emulated CUDA beside (libseng_cuda.so, where
// the process has it), which is closed to the host.
bool on_device(const void* memory, std::size_t bytes);
// As memmove(), from and to any memory.
void move_bytes(void* to, const void* from, std::size_t bytes);

// What the process may see, "GPU-a".
std::string visible_device();

}  // namespace emulated_nccl
