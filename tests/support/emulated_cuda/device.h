// The emulated device: memory and streams.
#pragma once

#include <cstddef>
#include <functional>

struct CUstream_st;

namespace emulated_cuda {

// Queues work; it is done when somebody waits for the stream. While it is done the device's memory is open.
void queue(CUstream_st* stream, std::function<void()> work);

}  // namespace emulated_cuda
