// The emulated device: memory and streams.
#pragma once

#include <cstddef>
#include <functional>

struct CUstream_st;

namespace emulated_cuda {

// Queues work; it is done when somebody waits for the stream. While it is done the device's memory is open.
// The device's clock is its own, so that tests know what is measured: it advances by `milliseconds`.
// Where the stream captures, the work is kept in its graph instead.
void queue(CUstream_st* stream, std::function<void()> work, double milliseconds = 0);

// Whether this thread captures: what the caller was about to do is not permitted then, and the capture is
// invalid from here on.
bool refused_in_capture();
// SENG_EMULATED_CAPTURE_REFUSES: "kernel", "cudnn" or "instantiate" is what cannot be captured.
bool capture_refuses(const char* what);
bool invalidates_capture(CUstream_st* stream, const char* what);  // where it says so

}  // namespace emulated_cuda
