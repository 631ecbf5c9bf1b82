// The emulated device: memory and streams.
#pragma once

#include <cstddef>
#include <functional>

struct CUstream_st;

namespace emulated_cuda {

// Queues work; it is done when somebody waits for the stream. While it is done the device's memory is open.
// The device's clock is its own, so that tests know what is measured: it advances by `milliseconds`.
void queue(CUstream_st* stream, std::function<void()> work, double milliseconds = 0);

}  // namespace emulated_cuda
