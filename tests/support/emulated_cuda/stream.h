// What streams and events are here; shared by the files that stand in for CUDA's runtime.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "tests/support/emulated_cuda/cuda_runtime_api.h"

namespace emulated_cuda {

// A piece of work, and by how many milliseconds it takes the device's clock forward.
using Work = std::pair<std::function<void()>, double>;

struct Capture {
  std::thread::id thread;
  std::vector<Work> work;
  bool invalid = false;
};

}  // namespace emulated_cuda

struct CUstream_st {
  std::deque<emulated_cuda::Work> waiting;
  std::uint64_t queued = 0, done = 0;
  double clock = 0;                                 // milliseconds
  std::unique_ptr<emulated_cuda::Capture> capture;  // while it captures
};
struct CUevent_st {
  bool timed = false;
  cudaStream_t stream = nullptr;
  std::uint64_t place = 0;
  std::shared_ptr<double> reached = {};  // the stream's clock
  bool captured = false;                 // recorded last while its stream captured
};

namespace emulated_cuda {

extern std::recursive_mutex device_mutex;  // one for the process: lanes take turns
extern cudaError_t last_error;

// What every call gives once the device has failed.
cudaError_t failure_now();
// Does a stream's work up to there; the device's memory is open meanwhile.
void run_until(cudaStream_t stream, std::uint64_t place);

// What tests count, since the process began.
struct Counts {
  std::uint64_t allocations = 0;     // device and pinned areas
  std::uint64_t copies_to_host = 0;  // done
  std::uint64_t bytes_to_host = 0;   // by them
  std::uint64_t waits = 0;           // of the host, for work that was not done
  std::uint64_t calls = 0;           // pieces of work that the host queued, a graph being one
  std::uint64_t work = 0;            // that the device was given, each piece of a graph being one
  std::uint64_t graphs = 0;          // launched
  std::uint64_t captures = 0;        // ended with a graph
};
extern Counts counts;

// Notes a piece of work in the capture of `stream`; false where it does not capture. What may not be captured
// makes the capture invalid and is cudaGetLastError()'s next word.
bool captured(cudaStream_t stream, Work work);
// The stream's capture is invalid from here on.
cudaError_t refuse(cudaStream_t stream);

}  // namespace emulated_cuda
